//! The fixed part of a NIfTI header, both versions and byte orders, with nibabel's repairs.

use super::dtype_of;
use crate::error::Result;
use crate::image::{DType, Space};
use crate::{bail, err};

/// Bytes of a NIfTI-1 header.
pub const SIZE_1: usize = 348;
/// Bytes of a NIfTI-2 header.
pub const SIZE_2: usize = 540;

/// What the header says, after nibabel's repairs (`Nifti1Header._get_checks` with fixes).
#[derive(Debug, Clone)]
pub struct NiftiHeader {
    pub version: u8,
    pub big_endian: bool,
    /// Lengths of the stored axes, fastest first; 1 to 7 of them, each at least 1.
    pub shape: Vec<usize>,
    pub dtype: DType,
    /// Where the voxels start in their file, in bytes.
    pub offset: u64,
    /// Value = stored · slope + inter; `None`: as stored.
    pub scaling: Option<(f64, f64)>,
    /// pixdim[0], -1 or 1.
    pub qfac: f64,
    /// pixdim[1..]: lengths of the voxel axes; the first three positive (or NaN).
    pub zooms: [f64; 7],
    /// 0 to 5.
    pub qform_code: i16,
    pub sform_code: i16,
    /// Quaternion b, c, d.
    pub quaternion: [f64; 3],
    pub qoffset: [f64; 3],
    pub srow: [[f64; 4]; 3],
    /// `xyzt_units` as stored.
    pub units: u8,
}

/// Numbers at byte offsets. Offsets are constants below the length that `parse` checked.
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
    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.array(at)))
    }
    fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.array(at))
    }
}

/// Fields as stored, before any check.
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
}

/// Which version the first bytes of a file belong to (at least [`SIZE_1`] of them); an error if they are no NIfTI header.
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
        return Err(err!("expected a NIfTI file, found a header without NIfTI's mark (ANALYZE 7.5?)").hint(
            "ANALYZE does not say how an image lies in space; convert it to NIfTI with a tool that knows its source",
        ));
    }
    Err(err!("expected a NIfTI file, found something else"))
}

impl NiftiHeader {
    /// What the file calls its world space.
    pub fn space(&self) -> Space {
        Space { qform_code: self.qform_code, sform_code: self.sform_code, units: self.units }
    }
    /// Bytes of the fixed part.
    pub fn size(&self) -> u64 {
        if self.version == 1 { SIZE_1 as u64 } else { SIZE_2 as u64 }
    }
    /// Parse the fixed part. `single`: header and voxels share a file.
    pub fn parse(bytes: &[u8], single: bool) -> Result<NiftiHeader> {
        let version = version(bytes)?;
        let size = if version == 1 { SIZE_1 } else { SIZE_2 };
        if bytes.len() < size {
            bail!("expected a NIfTI-{version} header of {size} bytes, found {}", bytes.len());
        }
        let big_endian = big_endian(bytes, version);
        let fields = Fields { bytes, big_endian };
        let stored = if version == 1 { Stored::nifti_1(&fields) } else { Stored::nifti_2(&fields) };
        if version == 2 && !matches!(&bytes[8..12], [13, 10, 26, 10] | [0, 0, 0, 0]) {
            bail!("the header's line ends were changed: the file was transferred as text");
        }
        stored.check(version, big_endian, single)
    }
}

/// nibabel's guess: a sensible number of dimensions decides, and the header size where there are none.
fn big_endian(bytes: &[u8], version: u8) -> bool {
    let little = Fields { bytes, big_endian: false };
    let (dims, size) = if version == 1 { (i64::from(little.i16(40)), SIZE_1) } else { (little.i64(16), SIZE_2) };
    if dims == 0 { little.i32(0).swap_bytes() == size as i32 } else { !(1..=7).contains(&dims) }
}

impl Stored {
    fn nifti_1(fields: &Fields) -> Stored {
        Stored {
            dim: std::array::from_fn(|i| i64::from(fields.i16(40 + 2 * i))),
            datatype: fields.i16(70),
            pixdim: std::array::from_fn(|i| fields.f32(76 + 4 * i)),
            vox_offset: fields.f32(108),
            slope: fields.f32(112),
            inter: fields.f32(116),
            qform_code: fields.i16(252).into(),
            sform_code: fields.i16(254).into(),
            quaternion: std::array::from_fn(|i| fields.f32(256 + 4 * i)),
            qoffset: std::array::from_fn(|i| fields.f32(268 + 4 * i)),
            srow: std::array::from_fn(|row| std::array::from_fn(|i| fields.f32(280 + 16 * row + 4 * i))),
            units: fields.array::<1>(123)[0],
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
            // Beyond a byte it means nothing.
            units: u8::try_from(fields.i32(500)).unwrap_or(0),
        }
    }

    fn check(self, version: u8, big_endian: bool, single: bool) -> Result<NiftiHeader> {
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
        Ok(NiftiHeader {
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
        // Below 2^53, so that the number is a whole one.
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
