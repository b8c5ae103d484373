//! The fixed part of NIfTI headers of both versions and byte orders, with nibabel's repairs. The `nifti` crate parses
//! NIfTI-1; this module parses NIfTI-2, which the crate does not support, and validates both.

use super::dtype_of;
use crate::error::Result;
use crate::image::{Affine, DType, Grid, Space, StoredForms};
use crate::{bail, err};
use nifti::{Endianness, NiftiHeader};

/// Size of a NIfTI-1 header in bytes.
pub const SIZE_1: usize = 348;
/// Size of a NIfTI-2 header in bytes.
pub const SIZE_2: usize = 540;

/// A validated header, after nibabel's repairs (`Nifti1Header._get_checks` with fixes).
#[derive(Debug, Clone)]
pub struct CheckedHeader {
    pub version: u8,
    pub big_endian: bool,
    /// Lengths of the stored axes, fastest first; 1 to 7 of them, each at least 1.
    pub shape: Vec<usize>,
    pub dtype: DType,
    /// Position of the first voxel in its file, in bytes.
    pub offset: u64,
    /// Value = stored · slope + inter; `None` if values are not scaled.
    pub scaling: Option<(f64, f64)>,
    /// pixdim[0], -1 or 1.
    pub qfac: f64,
    /// pixdim[1..]: voxel sizes; the first three are positive (or NaN).
    pub zooms: [f64; 7],
    /// Code from 0 to 5.
    pub qform_code: i16,
    pub sform_code: i16,
    /// Components b, c, d of the quaternion.
    pub quaternion: [f64; 3],
    pub qoffset: [f64; 3],
    pub srow: [[f64; 4]; 3],
    /// `xyzt_units` as stored.
    pub units: u8,
    /// Meaning of the voxels (nifti1.h, "NIFTI_INTENT_...").
    pub intent_code: i32,
}

/// Reads NIfTI-2 fields at constant byte offsets, which are below the length that `parse` has checked.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut raw: [u8; N] = std::array::from_fn(|i| self.bytes.get(at + i).copied().unwrap_or_default());
        if self.big_endian {
            raw.reverse();
        }
        raw
    }
    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.array(at))
    }
    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }
    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.array(at))
    }
}

/// Fields as stored, before validation.
struct Stored {
    dim: [i64; 8],
    datatype: i16,
    pixdim: [f64; 8],
    vox_offset: f64,
    slope: f64,
    inter: f64,
    qform_code: i32,
    sform_code: i32,
    quaternion: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    units: u8,
    intent_code: i32,
}

/// Detects the version from the first bytes of a file (at least [`SIZE_1`]).
///
/// # Errors
/// It is not a NIfTI header.
pub fn version(start: &[u8]) -> Result<u8> {
    if start.get(344..348).is_some_and(|magic| matches!(magic, b"n+1\0" | b"ni1\0")) {
        return Ok(1);
    }
    let size: [u8; 4] = std::array::from_fn(|i| start.get(i).copied().unwrap_or_default());
    let magic_2 = start.get(4..8).is_some_and(|magic| matches!(magic, b"n+2\0" | b"ni2\0"));
    if magic_2 && [u32::from_le_bytes(size), u32::from_be_bytes(size)].contains(&(SIZE_2 as u32)) {
        return Ok(2);
    }
    if [u32::from_le_bytes(size), u32::from_be_bytes(size)].contains(&(SIZE_1 as u32)) {
        return Err(err!("expected a NIfTI file, found a header without NIfTI magic (ANALYZE 7.5?)")
            .hint("ANALYZE files do not store the orientation of the image: convert the original data to NIfTI"));
    }
    Err(err!("expected a NIfTI file, found something else"))
}

impl CheckedHeader {
    /// Returns the world space in the header; `affine` is the one that was derived from it.
    pub fn space(&self, affine: Affine) -> Space {
        let axis = |axis: usize| self.shape.get(axis).copied().unwrap_or(1);
        let [x, y, z] = [0, 1, 2].map(|axis| self.zooms[axis] as f32);
        // A quaternion that nibabel would refuse is normalized, as for reading; others are kept as stored.
        let squared: f64 = self.quaternion.iter().map(|value| value * value).sum();
        let shrink = if squared > 1.0 + 3.0 * f64::from(f32::EPSILON) { 1.0 / squared.sqrt() } else { 1.0 };
        let forms = StoredForms {
            grid: Grid { shape: [axis(0), axis(1), axis(2)], affine },
            pixdim: [self.qfac as f32, x, y, z],
            quaternion: self.quaternion.map(|value| (value * shrink) as f32),
            qoffset: self.qoffset.map(|value| value as f32),
            srow: self.srow.map(|row| row.map(|value| value as f32)),
        };
        Space { qform_code: self.qform_code, sform_code: self.sform_code, units: self.units, forms: Some(forms) }
    }
    /// Size of the fixed part in bytes.
    pub fn size(&self) -> u64 {
        if self.version == 1 { SIZE_1 as u64 } else { SIZE_2 as u64 }
    }
    /// Parses the fixed part. `single`: header and voxels are in the same file.
    pub fn parse(bytes: &[u8], single: bool) -> Result<CheckedHeader> {
        let version = version(bytes)?;
        let size = if version == 1 { SIZE_1 } else { SIZE_2 };
        if bytes.len() < size {
            bail!("expected a NIfTI-{version} header of {size} bytes, found {}", bytes.len());
        }
        if version == 1 {
            let header = NiftiHeader::from_reader(bytes).map_err(|error| err!("invalid NIfTI-1 header: {error}"))?;
            return Stored::nifti_1(&header).check(version, header.endianness == Endianness::Big, single);
        }
        if !matches!(&bytes[8..12], [13, 10, 26, 10] | [0, 0, 0, 0]) {
            bail!("the line endings in the header were changed: the file was transferred as text");
        }
        let fields = Fields { bytes, big_endian: big_endian_2(bytes) };
        Stored::nifti_2(&fields).check(version, fields.big_endian, single)
    }
}

/// Guesses the byte order of NIfTI-2 as nibabel does: by a valid number of dimensions, or by the header size if there
/// are none.
fn big_endian_2(bytes: &[u8]) -> bool {
    let little = Fields { bytes, big_endian: false };
    let dims = little.i64(16);
    if dims == 0 { little.i32(0).swap_bytes() == SIZE_2 as i32 } else { !(1..=7).contains(&dims) }
}

impl Stored {
    fn nifti_1(header: &NiftiHeader) -> Stored {
        Stored {
            // The crate reads the signed lengths as unsigned.
            dim: header.dim.map(|length| i64::from(length as i16)),
            datatype: header.datatype,
            pixdim: header.pixdim.map(f64::from),
            vox_offset: header.vox_offset.into(),
            slope: header.scl_slope.into(),
            inter: header.scl_inter.into(),
            qform_code: header.qform_code.into(),
            sform_code: header.sform_code.into(),
            quaternion: [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from),
            qoffset: [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from),
            srow: [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from)),
            units: header.xyzt_units,
            intent_code: header.intent_code.into(),
        }
    }
    fn nifti_2(fields: &Fields) -> Stored {
        Stored {
            dim: std::array::from_fn(|i| fields.i64(16 + 8 * i)),
            datatype: fields.i16(12),
            pixdim: std::array::from_fn(|i| fields.f64(104 + 8 * i)),
            vox_offset: fields.i64(168) as f64,
            slope: fields.f64(176),
            inter: fields.f64(184),
            qform_code: fields.i32(344),
            sform_code: fields.i32(348),
            quaternion: std::array::from_fn(|i| fields.f64(352 + 8 * i)),
            qoffset: std::array::from_fn(|i| fields.f64(376 + 8 * i)),
            srow: std::array::from_fn(|row| std::array::from_fn(|i| fields.f64(400 + 32 * row + 8 * i))),
            // Values beyond a byte have no meaning.
            units: u8::try_from(fields.i32(500)).unwrap_or(0),
            intent_code: fields.i32(504),
        }
    }

    fn check(self, version: u8, big_endian: bool, single: bool) -> Result<CheckedHeader> {
        let dtype = dtype_of(self.datatype).map_err(|what| {
            err!("expected voxels that are real numbers, found {what} (datatype {})", self.datatype)
                .hint("convert the image to integers or floats")
        })?;
        let code = |code: i32| if (0..=5).contains(&code) { code as i16 } else { 0 };
        let zooms = std::array::from_fn(|i| match self.pixdim[i + 1] {
            zoom if i >= 3 => zoom,
            0.0 => 1.0,
            zoom => zoom.abs(),
        });
        Ok(CheckedHeader {
            version,
            big_endian,
            shape: self.shape()?,
            dtype,
            offset: self.offset(version, single)?,
            scaling: self.scaling()?,
            qfac: if self.pixdim[0] == -1.0 { -1.0 } else { 1.0 },
            zooms,
            qform_code: code(self.qform_code),
            sform_code: code(self.sform_code),
            quaternion: self.quaternion,
            qoffset: self.qoffset,
            srow: self.srow,
            units: self.units,
            intent_code: self.intent_code,
        })
    }

    fn shape(&self) -> Result<Vec<usize>> {
        let [dims, lengths @ ..] = &self.dim;
        let used = usize::try_from(*dims).ok().filter(|dims| *dims > 0).and_then(|dims| lengths.get(..dims));
        let used = used.ok_or_else(|| err!("expected 1 to 7 dimensions, found {dims}"))?;
        let shape: Option<Vec<usize>> =
            used.iter().map(|length| usize::try_from(*length).ok().filter(|length| *length > 0)).collect();
        shape.ok_or_else(|| err!("expected dimensions of at least one voxel, found {used:?}"))
    }

    fn offset(&self, version: u8, single: bool) -> Result<u64> {
        let least = match (single, version) {
            (false, _) => 0,
            (true, 1) => 352,
            (true, _) => 544,
        };
        let offset = self.vox_offset;
        if offset == 0.0 {
            return Ok(least);
        }
        // Below 2^53, so that the conversion is exact.
        if !(least as f64..9e15).contains(&offset) {
            bail!("expected the voxels to start at byte {least} or later, found vox_offset {offset}");
        }
        Ok(offset as u64)
    }

    fn scaling(&self) -> Result<Option<(f64, f64)>> {
        let (slope, inter) = (self.slope, self.inter);
        if slope == 0.0 || !slope.is_finite() {
            return Ok(None);
        }
        if !inter.is_finite() {
            bail!("expected a finite scl_inter beside scl_slope {slope}, found {inter}");
        }
        Ok((slope != 1.0 || inter != 0.0).then_some((slope, inter)))
    }
}

/// Encodes a little-endian NIfTI-1 header. (The crate's own writer requires an ndarray of the whole image.)
pub fn to_bytes(header: &NiftiHeader) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SIZE_1);
    let mut put = |value: &[u8]| bytes.extend_from_slice(value);
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    put(&header.sizeof_hdr.to_le_bytes());
    put(&header.data_type);
    put(&header.db_name);
    put(&header.extents.to_le_bytes());
    put(&header.session_error.to_le_bytes());
    put(&[header.regular, header.dim_info]);
    header.dim.iter().for_each(|length| put(&length.to_le_bytes()));
    put(&floats(&[header.intent_p1, header.intent_p2, header.intent_p3]));
    for number in [header.intent_code, header.datatype, header.bitpix, header.slice_start] {
        put(&number.to_le_bytes());
    }
    put(&floats(&header.pixdim));
    put(&floats(&[header.vox_offset, header.scl_slope, header.scl_inter]));
    put(&header.slice_end.to_le_bytes());
    put(&[header.slice_code, header.xyzt_units]);
    put(&floats(&[header.cal_max, header.cal_min, header.slice_duration, header.toffset]));
    put(&header.glmax.to_le_bytes());
    put(&header.glmin.to_le_bytes());
    let text = &header.descrip[..header.descrip.len().min(80)];
    put(&[text, &[0; 80][text.len()..]].concat());
    put(&header.aux_file);
    put(&header.qform_code.to_le_bytes());
    put(&header.sform_code.to_le_bytes());
    put(&floats(&[header.quatern_b, header.quatern_c, header.quatern_d]));
    put(&floats(&[header.quatern_x, header.quatern_y, header.quatern_z]));
    put(&floats(&[header.srow_x, header.srow_y, header.srow_z].concat()));
    put(&header.intent_name);
    put(&header.magic);
    bytes
}
