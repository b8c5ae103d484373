//! MetaImage (`.mha`, or `.mhd` with a raw file), read like MONAI's `ITKReader` (`monai.data.image_reader`, 1.6.1, with
//! ITK): `TransformMatrix` contains the directions of the axes one after the other, LPS is converted to RAS,
//! `AnatomicalOrientation` is ignored, vector components and a fourth axis become channels.
//!
//! Deliberate differences: a size that the file cannot contain, a singular or non-finite geometry, and more than one
//! axis beyond X, Y, Z that is longer than 1 are errors.

use super::raw::{self, Axes, Numbers, Packing, StoredImage, TextHeader};
use crate::error::Result;
use crate::image::{Affine, DType, Volume};
use crate::{bail, err};
use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Reads a `.mha` or `.mhd` file. Voxels keep their stored type; the layout describes interleaved components.
pub fn read(path: impl AsRef<Path>) -> Result<Volume> {
    raw::read::<MetaImageHeader>(path.as_ref(), None)
}

/// Reads a file in memory that contains its voxels. `path` is not opened.
pub fn read_bytes(bytes: &[u8], path: &Path) -> Result<Volume> {
    raw::read_bytes::<MetaImageHeader>(bytes, path)
}

/// A parsed header.
pub(super) struct MetaImageHeader {
    fields: HashMap<String, String>,
    /// Location of the voxels: `LOCAL`, a name, a pattern, or `LIST` followed by names.
    data: String,
    listed: Vec<String>,
}

impl MetaImageHeader {
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.fields.get(&name.to_ascii_lowercase())).map(String::as_str)
    }
    fn flag(&self, names: &[&str]) -> bool {
        self.text(names).is_some_and(|text| text.starts_with(['t', 'T', '1', 'y', 'Y']))
    }
    /// Returns `wanted` numbers, or `None` if the field is missing.
    fn numbers(&self, names: &[&str], wanted: usize) -> Result<Option<Vec<f64>>> {
        let Some(text) = self.text(names) else { return Ok(None) };
        let numbers: Option<Vec<f64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.len() >= wanted) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(err!("expected {wanted} numbers after {}, found `{text}`", names[0])),
        }
    }
    fn whole<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T> {
        match self.text(&[name]) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| err!("expected a whole number after {name}, found `{text}`")),
        }
    }

    /// Whether the voxels follow the header.
    fn is_local(&self) -> bool {
        self.data.eq_ignore_ascii_case("local")
    }

    fn axes(&self) -> Result<Axes> {
        let dims: usize = self.whole("NDims", 0)?;
        if !(1..=10).contains(&dims) {
            bail!("expected NDims from 1 to 10, found {:?}", self.text(&["NDims"]));
        }
        let text = self.text(&["DimSize"]).ok_or_else(|| err!("expected DimSize in the MetaImage header"))?;
        let sizes: Option<Vec<usize>> =
            text.split_whitespace().map(|word| word.parse().ok().filter(|size| *size > 0)).collect();
        let Some(sizes) = sizes.filter(|sizes| sizes.len() >= dims) else {
            bail!("expected {dims} lengths of at least 1 in DimSize, found `{text}`")
        };
        let components: usize = self.whole("ElementNumberOfChannels", 1)?;
        if components == 0 {
            bail!("expected ElementNumberOfChannels of at least 1");
        }
        // Components of a voxel are adjacent: the fastest axis.
        let mut all = vec![components];
        all.extend(&sizes[..dims]);
        let longer: Vec<usize> = (4..all.len()).filter(|place| all[*place] > 1).collect();
        let channel = match (components, longer.as_slice()) {
            (1, []) => (dims > 3).then_some(4),
            (_, []) => Some(0),
            (1, [place]) => Some(*place),
            _ => bail!(
                "expected at most one axis beyond X, Y, Z that is longer than 1, found sizes {:?} of {components} components",
                &sizes[..dims]
            ),
        };
        Ok(Axes { spatial: (1..=dims.min(3)).collect(), sizes: all, channel })
    }

    fn numbers_stored(&self) -> Result<Numbers> {
        let name = self.text(&["ElementType"]).ok_or_else(|| err!("expected ElementType in the MetaImage header"))?;
        let dtype = match name.trim_end_matches("_ARRAY") {
            "MET_CHAR" | "MET_ASCII_CHAR" => DType::I8,
            "MET_UCHAR" => DType::U8,
            "MET_SHORT" => DType::I16,
            "MET_USHORT" => DType::U16,
            "MET_INT" | "MET_LONG" => DType::I32,
            "MET_UINT" | "MET_ULONG" => DType::U32,
            "MET_LONG_LONG" => DType::I64,
            "MET_ULONG_LONG" => DType::U64,
            "MET_FLOAT" => DType::F32,
            "MET_DOUBLE" => DType::F64,
            _ => bail!("expected an ElementType such as MET_SHORT, found `{name}`"),
        };
        let compressed = self.flag(&["CompressedData"]);
        let packing = match self.text(&["BinaryData"]) {
            Some(text) if text.starts_with(['f', 'F', '0', 'n', 'N']) => Packing::Text,
            _ if compressed => Packing::Deflate,
            _ => Packing::Plain,
        };
        Ok(Numbers { dtype, big_endian: self.flag(&["ElementByteOrderMSB", "BinaryDataByteOrderMSB"]), packing })
    }

    /// Axes that the header lacks (the third one of a plane) are orthogonal to the others.
    fn affine(&self) -> Result<Affine> {
        let dims: usize = self.whole("NDims", 3)?;
        let spacing = match self.numbers(&["ElementSpacing"], dims)? {
            Some(spacing) => Some(spacing),
            None => self.numbers(&["ElementSize"], dims)?,
        };
        let origin = self.numbers(&["Offset", "Position", "Origin"], dims)?;
        let matrix = self.numbers(&["TransformMatrix", "Rotation", "Orientation"], dims * dims)?;
        let (mut steps, mut first) = ([[0.0; 3]; 3], [0.0; 3]);
        for axis in 0..3 {
            // ITK uses the absolute value of a negative spacing.
            let spacing = spacing.as_ref().filter(|_| axis < dims).map_or(1.0, |spacing| spacing[axis].abs());
            for (row, step) in steps[axis].iter_mut().enumerate() {
                let inside = axis < dims && row < dims;
                let unit = if axis == row { 1.0 } else { 0.0 };
                *step = spacing * matrix.as_ref().filter(|_| inside).map_or(unit, |matrix| matrix[axis * dims + row]);
            }
            first[axis] = origin.as_ref().filter(|_| axis < dims).map_or(0.0, |origin| origin[axis]);
        }
        Ok(Affine::from_lps(steps, first))
    }
}

impl TextHeader for MetaImageHeader {
    fn read(source: &mut impl BufRead) -> Result<(MetaImageHeader, u64)> {
        let (mut fields, mut used) = (HashMap::new(), 0);
        loop {
            let Some(line) = raw::header_line(source, &mut used)? else {
                bail!("expected a MetaImage header that ends with ElementDataFile, found the end of the file");
            };
            if line.trim().is_empty() {
                continue;
            }
            let Some((name, value)) = line.split_once(['=', ':']) else {
                bail!(
                    "expected `name = value` in a MetaImage header, found `{}`",
                    line.chars().take(60).collect::<String>()
                );
            };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            if name == "elementdatafile" {
                let mut listed = vec![];
                if value.to_ascii_uppercase().starts_with("LIST") {
                    while let Some(line) = raw::header_line(source, &mut used)? {
                        listed.extend(Some(line.trim().to_owned()).filter(|line| !line.is_empty()));
                    }
                }
                return Ok((MetaImageHeader { fields, data: value, listed }, used));
            }
            fields.insert(name, value);
        }
    }
    fn data_files(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let words: Vec<&str> = self.data.split_whitespace().collect();
        let range: Option<Vec<i64>> = words.get(1..).unwrap_or_default().iter().map(|word| word.parse().ok()).collect();
        match (words.as_slice(), range.as_deref()) {
            _ if self.is_local() => Ok(vec![]),
            (["LIST" | "List" | "list", ..], _) => raw::beside(path, &self.listed),
            ([pattern, ..], Some([first, last])) if pattern.contains('%') => {
                raw::beside(path, raw::numbered(pattern, [*first, *last, 1])?)
            }
            ([pattern, ..], Some([first, last, step])) if pattern.contains('%') => {
                raw::beside(path, raw::numbered(pattern, [*first, *last, *step])?)
            }
            _ => raw::beside(path, [&self.data]),
        }
    }
    fn image(&self) -> Result<StoredImage> {
        let (axes, numbers, affine) = (self.axes()?, self.numbers_stored()?, self.affine()?.regular()?);
        let skip_bytes = if self.is_local() { 0 } else { self.whole("HeaderSize", 0)? };
        Ok(StoredImage { axes, affine, numbers, skip_lines: 0, skip_bytes })
    }
}
