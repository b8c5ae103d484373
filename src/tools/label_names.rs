//! Label names in a NIfTI header extension: Connectome Workbench's `CaretExtension` XML, as written by TotalSegmentator
//! (totalsegmentator.nifti_ext_header 2.18) and read by 3D Slicer.

use super::structures::Structures;
use crate::bundle::{channel_definition, load};
use crate::component::Value;
use crate::each_voxels;
use crate::err;
use crate::error::{Error, Result};
use crate::formats::nifti;
use crate::image::{Element, Volume};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Returns the XML of the header extension.
pub fn to_xml(structures: &Structures) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CaretExtension><VolumeInformation Index=\"0\"><LabelTable>\n",
    );
    for structure in structures.iter() {
        let [r, g, b] = structure.color().map(|part| f64::from(part) / 255.0);
        // `]]>` would end the CDATA section.
        let name = structure.name.replace("]]>", "");
        let _ = writeln!(
            xml,
            "<Label Key=\"{}\" Red=\"{r:.4}\" Green=\"{g:.4}\" Blue=\"{b:.4}\" Alpha=\"1\"><![CDATA[{name}]]></Label>",
            structure.id
        );
    }
    xml.push_str("</LabelTable><StudyMetaDataLinkSet></StudyMetaDataLinkSet><VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>\n");
    xml
}

/// Parses the names in the XML of an extension; `None` if it does not contain a label table.
pub fn from_xml(xml: &str) -> Option<Structures> {
    let mut reader = Reader::from_str(xml.trim_end_matches('\0'));
    let mut named = vec![];
    let mut open: Option<(u32, String)> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) if tag.name().as_ref() == b"Label" => {
                let key = tag.try_get_attribute("Key").ok()??;
                open = Some((std::str::from_utf8(&key.value).ok()?.parse().ok()?, String::new()));
            }
            Event::CData(text) => {
                if let Some((_, name)) = &mut open {
                    name.push_str(std::str::from_utf8(&text).ok()?);
                }
            }
            Event::Text(text) => {
                if let Some((_, name)) = &mut open {
                    name.push_str(std::str::from_utf8(&text).ok()?.trim());
                }
            }
            Event::End(tag) if tag.name().as_ref() == b"Label" => named.extend(open.take()),
            Event::Eof => break,
            _ => {}
        }
    }
    (!named.is_empty()).then(|| Structures::new(named).ok()).flatten()
}

/// Reads the label names in the header of a NIfTI file; `None` if it does not contain any.
pub fn read(path: &Path) -> Result<Option<Structures>> {
    let extensions = nifti::read_extensions(path)?;
    Ok(extensions.iter().find_map(|bytes| from_xml(std::str::from_utf8(bytes).ok()?)))
}

/// Source of the structure names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The `meta_file` passed by the caller.
    Given,
    /// The header of the label map.
    LabelMap,
    /// A metadata.json near the label map.
    Metadata(PathBuf),
    /// No names were found: structures are called `label_ID`.
    NotFound,
}

/// Maximum number of different labels in a label map.
pub const MAX_LABELS: usize = 1 << 20;

/// Returns the label of a voxel, 0 for background.
///
/// # Errors
/// The value is not a whole number from 0.
pub fn label(value: f64) -> Result<u32> {
    let id = value as u32;
    if f64::from(id) == value {
        Ok(id)
    } else {
        Err(err!("expected labels that are whole numbers from 0, found {value}"))
    }
}

/// Error for a volume with more than [`MAX_LABELS`] different values.
pub fn too_many_labels() -> Error {
    err!("expected a label map, found more than {MAX_LABELS} different labels")
}

/// Returns the labels that occur in a label map, without background.
///
/// # Errors
/// A value is not a whole number from 0, or there are more than [`MAX_LABELS`] labels.
pub fn labels_in(labels: &Volume) -> Result<BTreeSet<u32>> {
    fn occurring<T: Element>(buffer: &[T]) -> Result<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        // Neighboring voxels mostly have the same label: look at changes only.
        let mut last = T::default();
        for value in buffer.iter().filter(|&&value| std::mem::replace(&mut last, value) != value) {
            found.insert(label(value.to_f64())?);
            if found.len() > MAX_LABELS {
                return Err(too_many_labels());
            }
        }
        found.remove(&0);
        Ok(found)
    }
    each_voxels!(&labels.voxels, buffer => occurring(buffer))
}

/// Number of folders above a label map that are searched for its bundle: `<bundle>/eval/<case>/<case>_trans.nii.gz`.
const BUNDLE_LEVELS: usize = 4;

/// Returns the structure names of a label map and their source: `meta_file` if given, else the header of the map, a
/// metadata.json in its folder, or the `configs/metadata.json` of the bundle that contains it.
///
/// # Errors
/// `meta_file` or the label map cannot be read. A metadata.json without names is skipped, unless it is `meta_file`.
pub fn of(labels: &Path, meta_file: Option<&Path>) -> Result<(Structures, Source)> {
    if let Some(path) = meta_file {
        return Ok((from_metadata(path)?, Source::Given));
    }
    if let Some(structures) = read(labels)? {
        return Ok((structures, Source::LabelMap));
    }
    let absolute = std::path::absolute(labels).unwrap_or_else(|_| labels.to_owned());
    let folders = || absolute.ancestors().skip(1);
    let beside = folders().take(1).map(|folder| folder.join("metadata.json"));
    let above = folders().take(BUNDLE_LEVELS).map(|folder| folder.join("configs/metadata.json"));
    let found = beside.chain(above).find_map(|path| Some((from_metadata(&path).ok()?, Source::Metadata(path))));
    Ok(found.unwrap_or((Structures::default(), Source::NotFound)))
}

/// Reads the names in `network_data_format.outputs.*.channel_def` of a bundle's metadata.json, for a label map.
///
/// # Errors
/// The file cannot be read, is not JSON, or has no valid names.
pub fn from_metadata(path: &Path) -> Result<Structures> {
    read_metadata(path).and_then(|names| Structures::from_value(&names)).map_err(|error| error.file(path))
}

/// Like [`from_metadata`] for the channels of the prediction, see [`Structures::channels`].
pub fn channels(path: &Path) -> Result<Structures> {
    read_metadata(path).and_then(|names| Structures::channels(&names)).map_err(|error| error.file(path))
}

fn read_metadata(path: &Path) -> Result<Value> {
    let text = crate::text::read(path, 64 << 20)?;
    let metadata = load::read_text(&text, "metadata.json", &mut load::Notes::default())?;
    let outputs = metadata.child("network_data_format").and_then(|format| format.child("outputs"));
    match outputs.and_then(channel_definition) {
        Some((_, names)) => Ok(names.to_value()),
        None => Err(err!("expected network_data_format.outputs.pred.channel_def")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_survive_a_round_trip() {
        let structures = Structures::new([(1, "spleen".into()), (104, "a < b & \"c\"".into())]).unwrap();
        assert_eq!(from_xml(&to_xml(&structures)), Some(structures));
    }

    #[test]
    fn names_are_taken_from_the_metadata_near_a_label_map() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = |names: &str| {
            format!(r#"{{"network_data_format": {{"outputs": {{"pred": {{"channel_def": {names}}}}}}}}}"#)
        };
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let labels = folder.path().join("eval/case/labels.nii.gz");
        let layout = crate::image::Layout::contiguous([1, 1, 1, 2]);
        let voxels = crate::image::Voxels::U8(vec![0, 1].into());
        let (affine, dtype) = (crate::image::Affine::IDENTITY, crate::image::DType::U8);
        nifti::write(&labels, &voxels, &layout, &affine, dtype, nifti::Options::default()).unwrap();
        let name = |structures: &Structures| structures.get(1).name;
        let (structures, source) = of(&labels, None).unwrap();
        assert_eq!((name(&structures), source), ("label_1".into(), Source::NotFound));
        let above = write("configs/metadata.json", &metadata(r#"{"0": "background", "1": "liver"}"#));
        let (structures, source) = of(&labels, None).unwrap();
        assert_eq!((name(&structures), source), ("liver".into(), Source::Metadata(above.clone())));
        // A file of the same name from another program does not contain names.
        write("eval/case/metadata.json", r#"{"version": 1}"#);
        assert_eq!(of(&labels, None).unwrap().1, Source::Metadata(above));
        let beside = write("eval/case/metadata.json", &metadata(r#"{"0": "background", "1": "spleen"}"#));
        let (structures, source) = of(&labels, None).unwrap();
        assert_eq!((name(&structures), source), ("spleen".into(), Source::Metadata(beside)));
    }

    #[test]
    fn other_xml_has_no_names() {
        for xml in [
            "",
            "<a/>",
            "<LabelTable><Label Key=\"x\">a</Label></LabelTable>",
            "<LabelTable><Label>a</Label></LabelTable>",
            "<LabelTable><Label Key=\"1\">",
        ] {
            assert_eq!(from_xml(xml), None, "{xml}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(xml in "(<Label Key=\"[0-9]{1,12}\">|</Label>|<!\\[CDATA\\[|\\]\\]>|[a-z&;<>]){0,40}") {
            let _ = from_xml(&xml);
        }
    }
}
