//! Per-slice attributes of DICOM files: position, series and storage of the pixel data.

use super::elements::{Elements, Pixels, Source};
use crate::error::Result;
use crate::{bail, err};
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, Tag};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Vector = [f64; 3];

/// SOP classes: CT image, enhanced CT image, legacy converted enhanced CT image.
const CT_IMAGES: [&str; 3] =
    ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"];

/// Planes of up to this many voxels may be compressed to a few bytes; for larger ones, `MAX_RATIO` limits the voxels
/// per byte.
const SMALL_PLANE: usize = 1 << 22;
const MAX_RATIO: usize = 1 << 12;

/// A slice: a file, or a frame of one.
#[derive(Debug, Clone)]
pub struct Slice {
    pub file: Arc<PathBuf>,
    pub frame: usize,
    pub series: Arc<Series>,
    pub instance_uid: String,
    /// AcquisitionNumber; empty if missing.
    pub acquisition: String,
    /// Center of the first voxel, LPS, mm.
    pub position: Vector,
    /// Unit vectors along a row (to the next column) and down a column (to the next row), LPS.
    pub along_row: Vector,
    pub along_column: Vector,
    /// Distance between columns and between rows.
    pub spacing_mm: [f64; 2],
    /// SpacingBetweenSlices, else SliceThickness.
    pub thickness_mm: Option<f64>,
    /// Value = stored · slope + intercept.
    pub scaling: (f64, f64),
    pub stored: Stored,
    /// Whether the file is long enough for its pixel data, judged without decoding.
    pub whole: bool,
}

/// Attributes that the slices of a series share, for selection and messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub uid: String,
    pub number: String,
    pub description: String,
    pub modality: String,
    /// Whether ImageType contains LOCALIZER.
    pub localizer: bool,
}

/// Storage of the pixel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub columns: usize,
    pub rows: usize,
    pub frames: usize,
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
}

impl Stored {
    /// Smallest and largest value of `bits_stored` bits.
    fn range(&self) -> [f64; 2] {
        let count = 2f64.powi(self.bits_stored.into());
        if self.signed { [-count / 2.0, count / 2.0 - 1.0] } else { [0.0, count - 1.0] }
    }
}

impl Slice {
    /// Unit vector orthogonal to the slice, in DICOM's coordinates (LPS).
    pub fn normal(&self) -> Vector {
        crate::raw::cross(self.along_row, self.along_column)
    }
    /// Position along `normal`, mm.
    pub fn height(&self, normal: Vector) -> f64 {
        dot(self.position, normal)
    }
    /// Smallest and largest value that the stored bits can represent after rescaling; `None` if rescaling yields
    /// fractions.
    pub fn value_range(&self) -> Option<[f64; 2]> {
        let (slope, intercept) = self.scaling;
        let range = self.stored.range().map(|number| number * slope + intercept);
        (slope.fract() == 0.0 && intercept.fract() == 0.0).then(|| [range[0].min(range[1]), range[0].max(range[1])])
    }
}

/// Dot product.
pub fn dot(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Content of a DICOM file.
pub enum Content {
    Slices(Vec<Slice>),
    /// Not a slice of a volume; describes the content.
    Other(&'static str),
}

fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let element = object.get(tag)?;
    let text = element.to_str().ok()?;
    Some(text.trim_matches([' ', '\0']).to_owned()).filter(|text| !text.is_empty())
}

/// The text of a number may have several values; the first one is used.
fn whole(object: &InMemDicomObject, tag: Tag) -> Option<usize> {
    object.get(tag)?.to_int::<i64>().ok().and_then(|value| usize::try_from(value).ok())
}

fn floats<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    let values = object.get(tag)?.to_multi_float64().ok()?;
    <[f64; N]>::try_from(values).ok().filter(|values| values.iter().all(|value| value.is_finite()))
}

/// The objects that may contain an attribute of a frame: its functional groups, the shared ones, the data set.
struct FrameAttributes<'a> {
    objects: Vec<&'a InMemDicomObject>,
}

impl FrameAttributes<'_> {
    fn find<T>(&self, sequence: Tag, read: impl Fn(&InMemDicomObject) -> Option<T>) -> Option<T> {
        self.objects.iter().find_map(|object| {
            let nested = object.get(sequence).and_then(|element| element.items()).and_then(|items| items.first());
            nested.and_then(&read).or_else(|| read(object))
        })
    }
}

impl Content {
    /// Describes the slices that a file contains; [`Content::Other`] says why it contains none that can be read.
    ///
    /// # Errors
    /// A CT image has no pixel data, an image has no voxels, or attributes of a slice are missing or invalid.
    pub fn of(elements: &Elements<impl Source>, file: &Path) -> Result<Content> {
        let object = elements.object()?;
        if elements.pixels.is_none() {
            // Otherwise the slice would be lost silently.
            let class = text(&object, tags::SOP_CLASS_UID).or_else(|| elements.class.clone());
            if class.is_some_and(|class| CT_IMAGES.contains(&class.as_str())) {
                bail!("expected pixel data in a CT image, found none: the file is truncated");
            }
            return Ok(Content::Other("no pixel data"));
        }
        let (Some(rows), Some(columns)) = (whole(&object, tags::ROWS), whole(&object, tags::COLUMNS)) else {
            return Ok(Content::Other("no image size"));
        };
        if rows == 0 || columns == 0 {
            bail!("expected a DICOM image of at least one voxel, found {columns}×{rows}");
        }
        if whole(&object, tags::SAMPLES_PER_PIXEL).unwrap_or(1) != 1 {
            return Ok(Content::Other("colors"));
        }
        let frames = whole(&object, tags::NUMBER_OF_FRAMES).unwrap_or(1).max(1);
        let Some(stored) = stored(&object, columns, rows, frames)? else {
            return Ok(Content::Other("voxels that are no numbers of 8, 16 or 32 bits"));
        };
        let whole = is_whole(elements, &stored);
        let image_type = text(&object, tags::IMAGE_TYPE).unwrap_or_default();
        let series = Arc::new(Series {
            uid: text(&object, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            number: text(&object, tags::SERIES_NUMBER).unwrap_or_default(),
            description: text(&object, tags::SERIES_DESCRIPTION).unwrap_or_default(),
            modality: text(&object, tags::MODALITY).unwrap_or_default(),
            localizer: image_type.split('\\').any(|part| part.trim() == "LOCALIZER"),
        });
        let groups = |tag| object.get(tag).and_then(|element| element.items()).unwrap_or_default();
        let (shared, own) =
            (groups(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE), groups(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE));
        if frames > 1 && own.len() != frames {
            return Ok(Content::Other("frames without a position each"));
        }
        let (file, instance_uid) =
            (Arc::new(file.to_owned()), text(&object, tags::SOP_INSTANCE_UID).unwrap_or_default());
        let acquisition = text(&object, tags::ACQUISITION_NUMBER).unwrap_or_default();
        let mut slices = vec![];
        for frame in 0..frames {
            let objects = own.get(frame).into_iter().chain(shared.first()).chain([&object]).collect();
            let attributes = FrameAttributes { objects };
            let position = attributes
                .find(tags::PLANE_POSITION_SEQUENCE, |object| floats::<3>(object, tags::IMAGE_POSITION_PATIENT));
            let directions = attributes
                .find(tags::PLANE_ORIENTATION_SEQUENCE, |object| floats::<6>(object, tags::IMAGE_ORIENTATION_PATIENT));
            let (Some(position), Some([a, b, c, d, e, f])) = (position, directions) else {
                return Ok(Content::Other("no position in space"));
            };
            let spacing =
                attributes.find(tags::PIXEL_MEASURES_SEQUENCE, |object| floats::<2>(object, tags::PIXEL_SPACING));
            let Some([between_rows, between_columns]) = spacing else { return Ok(Content::Other("no voxel size")) };
            let number =
                |sequence, tag| attributes.find(sequence, |object| floats::<1>(object, tag)).map(|[value]| value);
            let values = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
            let slope = number(values, tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0);
            let thickness = number(tags::PIXEL_MEASURES_SEQUENCE, tags::SPACING_BETWEEN_SLICES)
                .or_else(|| number(tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS));
            slices.push(Slice {
                file: file.clone(),
                frame,
                series: series.clone(),
                instance_uid: instance_uid.clone(),
                acquisition: acquisition.clone(),
                position,
                along_row: unit([a, b, c])?,
                along_column: unit([d, e, f])?,
                spacing_mm: [between_columns, between_rows],
                thickness_mm: thickness.map(f64::abs).filter(|thickness| *thickness > 0.0),
                scaling: (slope, number(values, tags::RESCALE_INTERCEPT).unwrap_or(0.0)),
                stored,
                whole,
            });
        }
        Ok(Content::Slices(slices))
    }
}

/// Normalizes a direction, since decimals in the file are rounded.
fn unit(vector: Vector) -> Result<Vector> {
    let length = dot(vector, vector).sqrt();
    if !(0.9..1.1).contains(&length) {
        bail!("expected directions of length 1 in ImageOrientationPatient, found {vector:?}");
    }
    // Normalization would only add rounding errors to an exact direction.
    Ok(if (length - 1.0).abs() < 1e-12 { vector } else { vector.map(|value| value / length) })
}

/// Returns `None` for segmentations of one bit and the like.
fn stored(object: &InMemDicomObject, columns: usize, rows: usize, frames: usize) -> Result<Option<Stored>> {
    let word = |tag| whole(object, tag).and_then(|value| u16::try_from(value).ok());
    let bits_allocated =
        word(tags::BITS_ALLOCATED).ok_or_else(|| err!("expected BitsAllocated in the DICOM header"))?;
    let bits_stored = word(tags::BITS_STORED).unwrap_or(bits_allocated);
    let high_bit = word(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
    if ![8, 16, 32].contains(&bits_allocated) {
        return Ok(None);
    }
    if bits_stored == 0 || high_bit >= bits_allocated || high_bit + 1 < bits_stored {
        bail!(
            "expected the voxels' bits inside {bits_allocated} allocated ones, found {bits_stored} bits up to bit {high_bit}"
        );
    }
    let signed = word(tags::PIXEL_REPRESENTATION) == Some(1);
    Ok(Some(Stored { columns, rows, frames, bits_allocated, bits_stored, high_bit, signed }))
}

/// Whether the file is long enough for the size in its header.
fn is_whole(elements: &Elements<impl Source>, stored: &Stored) -> bool {
    let Some(voxels) = stored.columns.checked_mul(stored.rows).and_then(|plane| plane.checked_mul(stored.frames))
    else {
        return false;
    };
    match &elements.pixels {
        Some(Pixels::Native(range)) => {
            voxels.checked_mul(usize::from(stored.bits_allocated / 8)).is_some_and(|bytes| bytes <= range.len())
        }
        Some(Pixels::Fragments { fragments, cut_off, .. }) => {
            let bytes: usize = fragments.iter().map(|range| range.len()).sum();
            !cut_off
                && !fragments.is_empty()
                && (voxels <= stored.frames.saturating_mul(SMALL_PLANE) || voxels / MAX_RATIO <= bytes)
        }
        None => false,
    }
}
