//! The structures of a label map: their ids, names, colors and codes, and lookup tables for viewers.

use crate::component::{FromValue, Key, Value};
use crate::error::{Kind, Result};
use crate::{bail, err};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// A named label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Value in label maps, from 1; 0 is the background. Channel of a prediction, from 0.
    pub id: u32,
    /// Name, usable as a file name.
    pub name: String,
}

/// Meaning of a structure in SNOMED CT (coding scheme `SCT` in DICOM). All structures are of category 91723000,
/// "Anatomical Structure".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Code value of the type.
    pub code: String,
    /// Code meaning of the type.
    pub meaning: String,
    /// Side of a paired structure.
    pub side: Option<Side>,
}

/// Side of a paired structure, the modifier of its type in DICOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Side {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
}

impl Side {
    /// Code value in SNOMED CT.
    pub fn code(self) -> &'static str {
        match self {
            Side::Left => "7771000",
            Side::Right => "24028007",
        }
    }
    /// Code meaning in SNOMED CT.
    pub fn meaning(self) -> &'static str {
        match self {
            Side::Left => "Left",
            Side::Right => "Right",
        }
    }
}

/// The structures of TotalSegmentator with the colors of its 3D Slicer extension and codes of SNOMED CT, by name.
static KNOWN: LazyLock<HashMap<String, (Code, [u8; 3])>> = LazyLock::new(|| {
    type Row = (String, String, String, Option<Side>, String);
    let rows = csv::Reader::from_reader(include_bytes!("anatomy.csv").as_slice()).into_deserialize::<Row>();
    let known = rows.flatten().filter_map(|(name, code, meaning, side, color)| {
        let [_, r, g, b] = u32::from_str_radix(color.strip_prefix('#')?, 16).ok()?.to_be_bytes();
        Some((name, (Code { code, meaning, side }, [r, g, b])))
    });
    known.collect()
});

impl Structure {
    /// Returns the meaning of the name; `None` if it is not one of TotalSegmentator's.
    pub fn code(&self) -> Option<&'static Code> {
        KNOWN.get(&self.name).map(|(code, _)| code)
    }
    /// Returns the color in the notation of CSS, `#32aa3c`.
    pub fn css_color(&self) -> String {
        let [r, g, b] = self.color();
        format!("#{r:02x}{g:02x}{b:02x}")
    }
    /// Returns the RGB color of the structure: TotalSegmentator's for its names, else one chosen by the id such that
    /// consecutive ids have clearly different colors.
    pub fn color(&self) -> [u8; 3] {
        if let Some((_, color)) = KNOWN.get(&self.name) {
            return *color;
        }
        // The hue advances by the golden angle; saturation and lightness alternate, so that similar hues stay
        // distinguishable.
        let hue = f64::from(self.id) * 0.618_033_988_749_895 % 1.0;
        let (saturation, lightness) = [(0.85, 0.55), (0.6, 0.7), (0.75, 0.45)][self.id as usize % 3];
        [0.0, 8.0, 4.0].map(|shift| {
            // https://www.w3.org/TR/css-color-4/#hsl-to-rgb
            let k: f64 = (shift + hue * 12.0) % 12.0;
            let value =
                lightness - saturation * f64::min(lightness, 1.0 - lightness) * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
            (value * 255.0).round() as u8
        })
    }
}

/// Names of structures, as a list or as text: `liver,spleen` or `['liver','spleen']`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// Parses comma-separated names, with or without brackets and quotes.
    pub fn parse(text: &str) -> Names {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let names = inner.split(',').map(|name| name.trim().trim_matches(['\'', '"']).to_owned());
        Names(names.filter(|name| !name.is_empty()).collect())
    }
}

impl FromValue for Names {
    fn expected() -> String {
        "list of str".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Str(text) => Some(Names::parse(text)),
            value => Vec::from_value(value).map(Names),
        }
    }
}

/// The structures of a label map in ascending order of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structures(Vec<Structure>);

/// Names by id in a config value.
fn named(value: &Value) -> Result<Vec<(u32, String)>> {
    let wrong = || {
        err!("expected names by label, {{\"1\": \"spleen\"}}, or a list of names from label 0, found {value:?}")
            .kind(Kind::Config)
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    if let Value::Dict(dict) = value {
        let named = dict.items().into_iter().map(|(key, name)| {
            let id = match key {
                Key::Int(id) => u32::try_from(id).ok(),
                Key::Str(id) => id.parse().ok(),
                _ => None,
            };
            Ok((id.ok_or_else(wrong)?, text(&name)?))
        });
        return named.collect();
    }
    let names = value.as_sequence().ok_or_else(wrong)?;
    names.iter().zip(0..).map(|(name, id)| Ok((id, text(name)?))).collect()
}

impl Structures {
    /// Creates the list from (id, name) pairs, sorted by id and without label 0.
    ///
    /// # Errors
    /// An id or a name is duplicated, or a name cannot be used as a file name.
    pub fn new(named: impl IntoIterator<Item = (u32, String)>) -> Result<Structures> {
        Structures::sorted(named.into_iter().filter(|(id, _)| *id != 0))
    }

    fn sorted(named: impl Iterator<Item = (u32, String)>) -> Result<Structures> {
        let mut all: Vec<Structure> = named.map(|(id, name)| Structure { id, name }).collect();
        all.sort_by_key(|structure| structure.id);
        if let Some(pair) = all.windows(2).find(|pair| pair[0].id == pair[1].id) {
            bail!("label {} has two names, `{}` and `{}`", pair[0].id, pair[0].name, pair[1].name);
        }
        let mut names: Vec<&str> = all.iter().map(|structure| &*structure.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two labels have the name `{}`", pair[0]);
        }
        let unusable = |name: &str| {
            name.is_empty() || name.starts_with('.') || name.chars().any(|c| c == '/' || c == '\\' || c.is_control())
        };
        if let Some(name) = names.iter().find(|name| unusable(name)) {
            bail!("expected structure names that can be used as file names, found `{}`", name.escape_debug());
        }
        Ok(Structures(all))
    }

    /// Parses a config value: `{"1": "spleen"}` or `{1: "spleen"}`, as in `channel_def` of metadata.json, or a list of
    /// names indexed by id, from 0.
    pub fn from_value(value: &Value) -> Result<Structures> {
        Structures::new(named(value)?)
    }

    /// Like [`Structures::from_value`] for the channels of a prediction: without channel 0 if that is the background, which
    /// a prediction of several labels per voxel does not have.
    pub fn channels(value: &Value) -> Result<Structures> {
        let is_background = |name: &str| {
            let name = name.to_lowercase();
            name.contains("background") || matches!(&*name, "bg" | "none" | "unlabeled" | "unlabelled")
        };
        Structures::sorted(named(value)?.into_iter().filter(|(id, name)| *id != 0 || !is_background(name)))
    }
    /// Iterates in ascending order of ids.
    pub fn iter(&self) -> impl Iterator<Item = &Structure> {
        self.0.iter()
    }
    /// Whether the id has a name.
    pub fn contains(&self, id: u32) -> bool {
        self.0.binary_search_by_key(&id, |structure| structure.id).is_ok()
    }
    /// Whether no structure is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Number of named structures.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Returns the structure with this id; an unnamed id 7 is called `label_7`.
    pub fn get(&self, id: u32) -> Structure {
        match self.0.binary_search_by_key(&id, |structure| structure.id) {
            Ok(at) => self.0[at].clone(),
            Err(_) => Structure { id, name: format!("label_{id}") },
        }
    }

    /// Returns the structures with the given names, in ascending order of ids.
    ///
    /// # Errors
    /// A name is unknown.
    pub fn subset(&self, names: &[String]) -> Result<Structures> {
        for name in names {
            if !self.0.iter().any(|structure| structure.name == *name) {
                let known = self.0.iter().map(|structure| &*structure.name);
                let error = err!("unknown structure `{name}`").kind(Kind::Config);
                return Err(error.suggest(crate::error::did_you_mean(name, known)));
            }
        }
        Ok(Structures(self.0.iter().filter(|structure| names.contains(&structure.name)).cloned().collect()))
    }

    /// Returns a color table for 3D Slicer (`labels.ctbl`): id, name without blanks, red, green, blue, opacity.
    pub fn slicer_table(&self) -> String {
        let mut text = String::from("# id name red green blue opacity\n0 background 0 0 0 0\n");
        for structure in &self.0 {
            let [r, g, b] = structure.color();
            let name = structure.name.replace(char::is_whitespace, "_");
            let _ = writeln!(text, "{} {name} {r} {g} {b} 255", structure.id);
        }
        text
    }

    /// Returns a label description file for ITK-SNAP: id, red, green, blue, opacity (0 to 1), visible in 2D, in 3D,
    /// name.
    pub fn itk_snap_table(&self) -> String {
        let mut text = String::from(
            "# ITK-SnAP Label Description File\n    0     0    0    0        0  0  0    \"Clear Label\"\n",
        );
        for structure in &self.0 {
            let [r, g, b] = structure.color();
            let _ = writeln!(
                text,
                "{:>5} {r:>5} {g:>4} {b:>4}        1  1  1    \"{}\"",
                structure.id,
                structure.name.replace('"', "'")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_0_is_a_structure_unless_it_is_the_background() {
        let ids = |names: &[&str]| {
            let names = Value::list(names.iter().map(Value::str));
            let ids = |all: Structures| all.iter().map(|structure| structure.id).collect::<Vec<_>>();
            (ids(Structures::channels(&names).unwrap()), ids(Structures::from_value(&names).unwrap()))
        };
        assert_eq!(ids(&["Tumor core", "Whole tumor"]), (vec![0, 1], vec![1]));
        assert_eq!(ids(&["Background", "spleen"]), (vec![1], vec![1]));
    }

    fn three() -> Structures {
        Structures::new([
            (5, "liver".into()),
            (0, "background".into()),
            (1, "spleen".into()),
            (2, "kidney_right".into()),
        ])
        .unwrap()
    }

    #[test]
    fn names_are_written_with_commas_or_as_a_list() {
        let names = Names(vec!["liver".into(), "left lung".into()]);
        for text in ["liver,left lung", "liver, left lung", "['liver', 'left lung']", "[\"liver\",\"left lung\"]"] {
            assert_eq!(Names::parse(text), names, "{text}");
        }
        assert_eq!(Names::from_value(&Value::from(vec!["liver", "left lung"])), Some(names));
    }

    #[test]
    fn a_subset_keeps_ids_and_an_unknown_name_gets_a_suggestion() {
        let subset = three().subset(&["liver".into(), "spleen".into()]).unwrap();
        assert_eq!(subset.iter().map(|structure| structure.id).collect::<Vec<_>>(), [1, 5]);
        let error = three().subset(&["livr".into()]).unwrap_err().to_string();
        assert!(error.contains("unknown structure `livr`") && error.contains("liver`"), "{error}");
        assert_eq!(three().get(7).name, "label_7");
    }

    #[test]
    fn names_that_clash_or_cannot_name_a_file_are_errors() {
        for named in [
            [(1, "a"), (1, "b")],
            [(1, "a"), (2, "a")],
            [(1, "../a"), (2, "b")],
            [(1, ""), (2, "b")],
            [(1, ".."), (2, "b")],
        ] {
            assert!(Structures::new(named.map(|(id, name)| (id, name.to_owned()))).is_err(), "{named:?}");
        }
    }

    #[test]
    fn colors_of_104_structures_differ() {
        let named = |id: u32| crate::tools::classes::NAMES[id as usize].to_owned();
        for (name, apart) in [(named as fn(u32) -> String, 1), (|id| format!("label_{id}"), 9)] {
            let colors: Vec<[u8; 3]> = (1..=104).map(|id| Structure { id, name: name(id) }.color()).collect();
            for (at, a) in colors.iter().enumerate() {
                for b in &colors[at + 1..] {
                    assert!(a.iter().zip(b).map(|(a, b)| a.abs_diff(*b) as u32).sum::<u32>() >= apart, "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn each_of_the_104_structures_has_a_code() {
        for (id, name) in (1..).zip(&crate::tools::classes::NAMES[1..]) {
            let structure = Structure { id, name: (*name).to_owned() };
            let code = structure.code().unwrap();
            let side = match *name {
                // The sides of heart chambers and lobes of the lung are part of their meanings.
                name if name.starts_with("heart") || name == "lung_middle_lobe_right" => None,
                name if name.contains("_left") => Some(Side::Left),
                name if name.contains("_right") => Some(Side::Right),
                _ => None,
            };
            assert!(code.side == side && code.code.bytes().all(|digit| digit.is_ascii_digit()), "{name}: {code:?}");
            assert!(!code.meaning.is_empty());
        }
        assert_eq!(KNOWN.len(), 104);
    }

    #[test]
    fn tables_have_a_line_for_each_structure() {
        let slicer = three().slicer_table();
        let rows: Vec<Vec<&str>> = slicer.lines().skip(1).map(|line| line.split(' ').collect()).collect();
        assert_eq!(
            rows.iter().map(|row| (row[0], row[1], row.len())).collect::<Vec<_>>(),
            [("0", "background", 6), ("1", "spleen", 6), ("2", "kidney_right", 6), ("5", "liver", 6)]
        );
        assert_eq!(three().itk_snap_table().lines().filter(|line| line.ends_with("\"kidney_right\"")).count(), 1);
    }
}
