//! LoadImaged: read NIfTI, NRRD and MetaImage files, and DICOM files or folders.
//!
//! Source: monai/transforms/io/dictionary.py and array.py of MONAI 1.6.1 with its NibabelReader, NrrdReader and
//! ITKReader. Voxels keep the file's data type where float32 represents all of its values exactly, so that the numbers
//! equal those of MONAI after its conversion.

use super::support::{DTypeArg, KeyList, SeriesName};
use crate::component::{Accepted, FromValue, Keys, OneOrMany, Value};
use crate::contracts::{Item, Sample, Step, Transform, TransformContext};
use crate::env::at_home;
use crate::error::Result;
use crate::formats;
use crate::image::{DType, Element, ImageHeader, Layout, Orientation, Volume, Voxels, filled};
use crate::{bail, err};
use std::path::{Path, PathBuf};
use std::sync::Arc;

component! {
    /// Load NIfTI, NRRD, MetaImage and DICOM images.
    pub static COMPONENT = dictionary "LoadImage" in "monai.transforms" / "io.dictionary";

    pub struct LoadImageArgs {
        /// Keys of the file names; replaced by the images.
        keys: Keys,
        /// MONAI reader: None, NibabelReader, NrrdReader, ITKReader or PydicomReader. The format is detected from the
        /// file's name and content; other readers are an error.
        reader: Option<Reader> = (),
        /// Data type. A float type keeps the file's integers, whose values are the same.
        dtype: Option<DTypeArg> = "float32",
        /// No effect: images always keep their metadata.
        meta_keys: Accepted = (),
        /// No effect: images always keep their metadata.
        meta_key_postfix: Accepted = "meta_dict",
        /// No effect: images always keep their metadata.
        overwriting: Accepted = false,
        /// No effect: images always keep their metadata.
        image_only: Accepted = true,
        /// Move the channel axis to the front, as EnsureChannelFirstd does.
        ensure_channel_first: bool = false,
        /// No effect: only removes metadata in MONAI.
        simple_keys: Accepted = false,
        /// No effect: only removes metadata in MONAI.
        prune_meta_pattern: Accepted = (),
        /// No effect: only removes metadata in MONAI.
        prune_meta_sep: Accepted = ".",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
        /// Expand a leading `~` to the home directory.
        expanduser: bool = true,
        /// Reader option: reorient the image to the closest canonical (RAS) orientation.
        as_closest_canonical: bool = false,
        /// No effect: axes of length 1 beyond the third are always dropped.
        squeeze_non_spatial_dims: Accepted = false,
        /// ITKReader option: series of a DICOM folder, by SeriesInstanceUID or its beginning, SeriesNumber or
        /// SeriesDescription; `#2` at its end names the second of several volumes in one series.
        series_name: Option<SeriesName> = (),
    }

    differs: [
        "Reads .nii, .nii.gz, .hdr/.img, .nrrd, .nhdr, .mha, .mhd, DICOM files, and a folder of DICOM slices as one volume.",
        "Several DICOM series in one folder, missing slices and broken geometry are errors.",
        "Voxels keep the file's integer type up to 16 bits until something computes with them; the values are MONAI's.",
        "Several files under one key must have one shape; they become channels.",
    ],
    build: LoadImage::new,
}

/// Value of `reader`: a MONAI reader whose file formats are supported.
pub struct Reader;

impl Reader {
    /// Names, which MONAI compares without regard to case.
    const NAMES: [&str; 4] = ["NibabelReader", "NrrdReader", "ITKReader", "PydicomReader"];
}

impl FromValue for Reader {
    fn expected() -> String {
        Reader::NAMES.map(|name| format!("\"{name}\"")).join(" or ")
    }
    fn from_value(value: &Value) -> Option<Self> {
        let name = value.as_str()?.rsplit('.').next()?;
        Reader::NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)).then_some(Reader)
    }
}

struct LoadImage {
    keys: KeyList,
    dtype: Option<DType>,
    channel_first: bool,
    expand_user: bool,
    canonical: bool,
    series: Option<String>,
}

impl LoadImage {
    fn new(args: LoadImageArgs) -> Result<Self> {
        Ok(LoadImage {
            keys: KeyList::new(args.keys, args.allow_missing_keys),
            dtype: args.dtype.map(|DTypeArg(dtype)| dtype),
            channel_first: args.ensure_channel_first,
            expand_user: args.expanduser,
            canonical: args.as_closest_canonical,
            series: args.series_name.map(|SeriesName(name)| name),
        })
    }
    fn place(&self, path: &Path) -> PathBuf {
        if self.expand_user { at_home(path) } else { path.to_owned() }
    }
    fn load(&self, path: &Path, read: impl Fn(&Path) -> Result<Volume> + Copy) -> Result<Volume> {
        let mut volume = read(&self.place(path))?;
        if self.canonical {
            volume = volume.turned_to(&Orientation::RAS)?;
            volume.header = Arc::new(ImageHeader { grid: volume.grid(), ..(*volume.header).clone() });
        }
        if self.series.is_some() {
            volume.header = Arc::new(ImageHeader { series: self.series.clone(), ..(*volume.header).clone() });
        }
        match self.dtype {
            Some(dtype) => volume.cast(dtype),
            None => {
                let stored = volume.voxels.dtype();
                volume.integer_type = (!stored.is_float()).then_some(stored);
                Ok(volume)
            }
        }
    }
}

/// Stacks images of equal shape as channels of one float32 image, with the geometry and the name of the first.
fn stacked(volumes: Vec<Volume>) -> Result<Volume> {
    let mut volumes = volumes.into_iter();
    let Some(first) = volumes.next() else { bail!("expected at least one file name, found an empty list") };
    let shape = first.layout.spatial();
    let mut rest = Vec::new();
    for volume in volumes {
        if let Some(distance_mm) = first.grid().distance_mm(&volume.grid()).filter(|_| volume.layout.spatial() == shape)
        {
            return Err(err!(
                "{} and {} are to become channels of one image, but their corners are {distance_mm:.1} mm apart",
                first.header.path.display(),
                volume.header.path.display()
            )
            .hint("resample the files to one grid first; MONAI rejects channels with different affines, too"));
        }
        if volume.layout.spatial() != shape {
            bail!(
                "expected channels of equal shape: {} has {:?} voxels, {} has {shape:?}",
                volume.header.path.display(),
                volume.layout.spatial(),
                first.header.path.display()
            );
        }
        rest.push(volume);
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let channels = first.channels() + rest.iter().map(Volume::channels).sum::<usize>();
    if first.is_header_only() {
        let header = Arc::new(ImageHeader { channels: Some(channels), ..(*first.header).clone() });
        let layout = Layout::contiguous([channels, shape[0], shape[1], shape[2]]);
        return Ok(Volume { voxels: Voxels::empty(DType::F32), layout, header, ..first });
    }
    let per_channel: usize = shape.iter().product();
    let mut parts = Vec::with_capacity(rest.len() + 1);
    for volume in std::iter::once(&first).chain(&rest) {
        parts.push(volume.to_f32_vec()?);
    }
    let voxels = filled(channels * per_channel, |out| {
        let mut out = out.iter_mut();
        parts.iter().flatten().zip(&mut out).for_each(|(x, out)| *out = *x);
    })?;
    let header = Arc::new(ImageHeader { channels: Some(channels), ..(*first.header).clone() });
    Ok(Volume {
        voxels: f32::wrap(voxels),
        layout: Layout::contiguous([channels, shape[0], shape[1], shape[2]]),
        header,
        ..first
    })
}

/// The file names that the sample holds under `key`.
fn file_names(sample: &Sample, key: &str) -> Option<OneOrMany<PathBuf>> {
    match sample.get(key) {
        Some(Item::Value(value)) => OneOrMany::from_value(value),
        _ => None,
    }
}

impl Transform for LoadImage {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn file_keys(&self) -> &[Arc<str>] {
        &self.keys.keys
    }
    fn plan(&self, sample: Sample) -> Result<Step<'_>> {
        let several = |key: &Arc<str>| matches!(file_names(&sample, key), Some(OneOrMany::Many(_)));
        // Several files become one float32 image in memory.
        let stacks = self.keys.present(&sample)?.iter().any(|(_, key)| several(key));
        let sample = self.loaded(sample, |path| formats::reader::read_header(path, self.series.as_deref()))?;
        Ok(if stacks { Step::exact(sample) } else { Step::header_only(sample) })
    }
    fn apply(&self, sample: Sample, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let digests = cx.case.digests.as_ref();
        let read = |path: &Path| {
            tracing::debug!("reading {}", path.display());
            formats::reader::read_hashed(path, self.series.as_deref(), digests)
        };
        Ok(vec![self.loaded(sample, read)?])
    }
}

impl LoadImage {
    /// Replaces the file names in `sample` by the images that `read` returns.
    fn loaded(&self, mut sample: Sample, read: impl Fn(&Path) -> Result<Volume> + Copy) -> Result<Sample> {
        for (_, key) in self.keys.present(&sample)? {
            let mut volume = match file_names(&sample, &key) {
                Some(OneOrMany::One(path)) => self.load(&path, read)?,
                Some(OneOrMany::Many(paths)) => {
                    stacked(paths.iter().map(|path| self.load(path, read)).collect::<Result<_>>()?)?
                }
                None => match sample.get(&key) {
                    Some(Item::Value(value)) => bail!("`{key}` is {value:?}, expected a file name"),
                    _ => bail!("`{key}` is an image already, expected a file name"),
                },
            };
            volume.channel_first |= self.channel_first;
            sample.set(&key, Item::Image(volume));
        }
        Ok(sample)
    }
}
