//! NRRD (`.nrrd`, or `.nhdr` with its data), read like MONAI's `NrrdReader` (`monai.data.image_reader`, 1.6.1, with
//! pynrrd) and, where that fails, its `ITKReader`: axes with a space direction are X, Y, Z in their order, coordinates
//! are converted to RAS, an image without `space` is in LPS, an axis without a direction becomes the channel axis.
//!
//! Deliberate differences: left-anterior-superior is converted to RAS (`NrrdReader` does not convert it), spaces
//! without anatomical directions (`scanner-xyz`, `3D-right-handed`) count as LPS as in ITK, and bzip2 is not supported.

use super::raw::{self, Axes, Numbers, Packing, StoredImage, TextHeader};
use crate::error::Result;
use crate::image::{Affine, DType, Volume};
use crate::{bail, err};
use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

const MAX_DIMS: usize = 16;

/// Reads a `.nrrd` or `.nhdr` file. Voxels keep their stored type and order, which the layout describes.
pub fn read(path: impl AsRef<Path>) -> Result<Volume> {
    raw::read::<NrrdHeader>(path.as_ref(), None)
}

/// Reads a file in memory that contains its voxels. `path` is not opened.
pub fn read_bytes(bytes: &[u8], path: &Path) -> Result<Volume> {
    raw::read_bytes::<NrrdHeader>(bytes, path)
}

/// A parsed header.
pub(super) struct NrrdHeader {
    fields: HashMap<String, String>,
    /// Names after `data file: LIST`.
    listed: Vec<String>,
}

impl NrrdHeader {
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.fields.get(*name)).map(String::as_str)
    }
    fn needed(&self, name: &str) -> Result<&str> {
        self.text(&[name]).ok_or_else(|| err!("expected the field `{name}` in the NRRD header"))
    }
    fn data_file(&self) -> Option<&str> {
        self.text(&["data file", "datafile"])
    }
    /// Returns one number per axis; `nan` for axes without one.
    fn per_axis(&self, names: &[&str], dims: usize) -> Result<Option<Vec<f64>>> {
        let Some(text) = self.text(names) else { return Ok(None) };
        let numbers: Option<Vec<f64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.len() == dims) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(err!("expected {dims} numbers in the field `{}`, found `{text}`", names[0])),
        }
    }
    fn whole<T: std::str::FromStr>(&self, names: &[&str], default: T) -> Result<T> {
        match self.text(names) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| err!("expected a whole number in the field `{}`, found `{text}`", names[0]))
            }
        }
    }

    fn numbers(&self) -> Result<Numbers> {
        let name = self.needed("type")?;
        let words: Vec<&str> = name.split_whitespace().collect();
        let dtype = match words.join(" ").as_str() {
            "signed char" | "int8" | "int8_t" => DType::I8,
            "uchar" | "unsigned char" | "uint8" | "uint8_t" => DType::U8,
            "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => DType::I16,
            "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => DType::U16,
            "int" | "signed int" | "int32" | "int32_t" => DType::I32,
            "uint" | "unsigned int" | "uint32" | "uint32_t" => DType::U32,
            "longlong"
            | "long long"
            | "long long int"
            | "signed long long"
            | "signed long long int"
            | "int64"
            | "int64_t" => DType::I64,
            "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => DType::U64,
            "float" => DType::F32,
            "double" => DType::F64,
            _ => bail!("expected a numeric NRRD type, found `{name}`"),
        };
        let packing = match self.needed("encoding")?.to_ascii_lowercase().as_str() {
            "raw" => Packing::Plain,
            "gzip" | "gz" => Packing::Deflate,
            "txt" | "text" | "ascii" => Packing::Text,
            other => {
                return Err(err!("expected the encoding raw, gzip or ascii, found `{other}`")
                    .hint("write it again with gzip: `unu save -e gzip`"));
            }
        };
        let big_endian = match self.text(&["endian"]) {
            Some("big") => true,
            Some("little") => false,
            None if dtype.size_bytes() == 1 || packing == Packing::Text => false,
            other => bail!("expected the field `endian` to be little or big, found {other:?}"),
        };
        Ok(Numbers { dtype, big_endian, packing })
    }

    fn sizes(&self) -> Result<Vec<usize>> {
        let dims: usize = self.whole(&["dimension"], 0)?;
        if !(1..=MAX_DIMS).contains(&dims) {
            bail!("expected a dimension from 1 to {MAX_DIMS}, found {:?}", self.text(&["dimension"]));
        }
        let text = self.needed("sizes")?;
        let sizes: Option<Vec<usize>> =
            text.split_whitespace().map(|word| word.parse().ok().filter(|size| *size > 0)).collect();
        sizes
            .filter(|sizes| sizes.len() == dims)
            .ok_or_else(|| err!("expected {dims} sizes of at least 1, found `{text}`"))
    }

    /// Parses `space directions`: a vector per axis, `None` for "none".
    fn directions(&self, dims: usize) -> Result<Option<Vec<Option<Vec<f64>>>>> {
        let Some(text) = self.text(&["space directions"]) else { return Ok(None) };
        let wrong = || err!("expected {dims} vectors or `none` in the field `space directions`, found `{text}`");
        let (mut rest, mut directions) = (text.trim(), vec![]);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("none") {
                directions.push(None);
                rest = after.trim_start();
            } else {
                let (vector, after) = rest.split_at(rest.find(')').ok_or_else(wrong)? + 1);
                directions.push(Some(vector_of(vector).ok_or_else(wrong)?));
                rest = after.trim_start();
            }
            if directions.len() > dims {
                return Err(wrong());
            }
        }
        // Some writers represent "none" by a vector of nan.
        let directions: Vec<_> = directions
            .into_iter()
            .map(|vector| vector.filter(|vector| !vector.iter().all(|value| value.is_nan())))
            .collect();
        if directions.len() == dims { Ok(Some(directions)) } else { Err(wrong()) }
    }

    /// Signs that convert the axes of the space to RAS.
    fn signs(&self) -> Result<[f64; 3]> {
        let space = self.text(&["space"]).map(str::to_ascii_lowercase);
        Ok(match space.as_deref() {
            None | Some("left-posterior-superior" | "lps" | "scanner-xyz" | "3d-right-handed" | "3d-left-handed") => {
                [-1.0, -1.0, 1.0]
            }
            Some("right-anterior-superior" | "ras") => [1.0, 1.0, 1.0],
            Some("left-anterior-superior" | "las") => [-1.0, 1.0, 1.0],
            Some(other) => bail!("expected a space such as left-posterior-superior, found `{other}`"),
        })
    }

    /// Returns the axes and the affine of the spatial ones.
    fn geometry(&self) -> Result<(Axes, Affine)> {
        let sizes = self.sizes()?;
        let dims = sizes.len();
        let directions = self.directions(dims)?;
        let spacings = self.per_axis(&["spacings"], dims)?;
        let kinds: Option<Vec<&str>> = self.text(&["kinds"]).map(|text| text.split_whitespace().collect());
        let spatial: Vec<usize> = match (&directions, &kinds) {
            (Some(directions), _) => (0..dims).filter(|axis| directions[*axis].is_some()).collect(),
            (None, Some(kinds)) if kinds.len() == dims => {
                let is_space =
                    |kind: &str| matches!(kind.to_ascii_lowercase().as_str(), "domain" | "space" | "???" | "none");
                (0..dims).filter(|axis| is_space(kinds[*axis])).take(3).collect()
            }
            // The components of a vector come first and have no spacing.
            (None, _) => {
                let has_spacing = |axis: &usize| spacings.as_ref().is_none_or(|spacings| !spacings[*axis].is_nan());
                (0..dims).filter(has_spacing).take(3).collect()
            }
        };
        if spatial.is_empty() || spatial.len() > 3 {
            bail!("expected 1 to 3 axes in space, found {} of {dims}", spatial.len());
        }
        let others: Vec<usize> = (0..dims).filter(|axis| !spatial.contains(axis)).collect();
        let longer: Vec<usize> = others.iter().copied().filter(|axis| sizes[*axis] > 1).collect();
        if longer.len() > 1 {
            bail!("expected at most one axis beyond X, Y, Z that is longer than 1, found sizes {sizes:?}");
        }
        let affine = self.affine(&spatial, directions.as_deref(), spacings.as_deref(), dims)?;
        let channel = longer.first().or(others.first()).copied();
        Ok((Axes { sizes, spatial, channel }, affine))
    }

    fn affine(
        &self,
        spatial: &[usize],
        directions: Option<&[Option<Vec<f64>>]>,
        spacings: Option<&[f64]>,
        dims: usize,
    ) -> Result<Affine> {
        let mut steps = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let mut origin = [0.0; 3];
        let three = |vector: &[f64]| -> Result<[f64; 3]> {
            let mut out = [0.0; 3];
            match out.get_mut(..vector.len()) {
                Some(slots) => slots.copy_from_slice(vector),
                None => bail!("expected a space of at most 3 dimensions, found {}", vector.len()),
            }
            Ok(out)
        };
        match directions {
            Some(directions) => {
                for (step, axis) in steps.iter_mut().zip(spatial) {
                    *step = three(directions[*axis].as_deref().unwrap_or_default())?;
                }
                if spatial.len() == 2 {
                    steps[2] = raw::third_step(steps[0], steps[1]);
                }
            }
            None => {
                let (minima, centers) =
                    (self.per_axis(&["axis mins", "axismins"], dims)?, self.text(&["centers", "centerings"]));
                let cell: Vec<bool> =
                    centers.unwrap_or_default().split_whitespace().map(|word| word == "cell").collect();
                for (place, axis) in spatial.iter().enumerate() {
                    let spacing =
                        spacings.map(|spacings| spacings[*axis]).filter(|spacing| !spacing.is_nan()).unwrap_or(1.0);
                    steps[place][place] = spacing;
                    let least = minima.as_ref().map(|minima| minima[*axis]).filter(|least| !least.is_nan());
                    let half = if cell.get(*axis).copied().unwrap_or(false) { spacing / 2.0 } else { 0.0 };
                    origin[place] = least.map_or(0.0, |least| least + half);
                }
            }
        }
        if let Some(text) = self.text(&["space origin"]) {
            origin = three(
                &vector_of(text)
                    .ok_or_else(|| err!("expected a vector in the field `space origin`, found `{text}`"))?,
            )?;
        }
        Affine::from_steps(steps, origin, self.signs()?).regular()
    }
}

impl TextHeader for NrrdHeader {
    fn read(source: &mut impl BufRead) -> Result<(NrrdHeader, u64)> {
        let mut used = 0;
        let magic = raw::header_line(source, &mut used)?.unwrap_or_default();
        if !magic.starts_with("NRRD000") {
            bail!("expected a NRRD file, found something else");
        }
        let mut header = NrrdHeader { fields: HashMap::new(), listed: vec![] };
        while let Some(line) = raw::header_line(source, &mut used)?.filter(|line| !line.is_empty()) {
            if header.data_file().is_some_and(|name| name.to_ascii_uppercase().starts_with("LIST")) {
                header.listed.push(line.trim().to_owned());
                continue;
            }
            // `name:=value` is a key/value pair without meaning for the image.
            if line.starts_with('#') || line.contains(":=") {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                bail!(
                    "expected `field: value` in a NRRD header, found `{}`",
                    line.chars().take(60).collect::<String>()
                );
            };
            header.fields.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok((header, used))
    }
    fn data_files(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let Some(data) = self.data_file() else { return Ok(vec![]) };
        let words: Vec<&str> = data.split_whitespace().collect();
        let range: Option<Vec<i64>> = words.get(1..).unwrap_or_default().iter().map(|word| word.parse().ok()).collect();
        match (words.as_slice(), range.as_deref()) {
            (["LIST" | "list", ..], _) => raw::beside(path, &self.listed),
            ([pattern, ..], Some([first, last, step, ..])) if pattern.contains('%') => {
                raw::beside(path, raw::numbered(pattern, [*first, *last, *step])?)
            }
            _ => raw::beside(path, [data]),
        }
    }
    fn image(&self) -> Result<StoredImage> {
        let ((axes, affine), numbers) = (self.geometry()?, self.numbers()?);
        let skip_lines = self.whole(&["line skip", "lineskip"], 0)?;
        let skip_bytes = self.whole(&["byte skip", "byteskip"], 0)?;
        Ok(StoredImage { axes, affine, numbers, skip_lines, skip_bytes })
    }
}

/// Parses `(1,0,0.5)`.
fn vector_of(text: &str) -> Option<Vec<f64>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    inner.split(',').map(|word| word.trim().parse().ok()).collect()
}
