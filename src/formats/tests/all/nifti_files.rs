//! NIfTI files that are made here byte by byte, good, odd and broken, with the values and affines that they must give.
//! The rules are nibabel's and MONAI's (see `nifti/mod.rs`); the expected numbers are computed from the fields directly.

use flate2::{Compression, write::GzEncoder};
use segbundle_base::error::Result;
use segbundle_formats::nifti;
use segbundle_image::{Affine, Layout, Volume};
use std::io::Write;
use std::path::Path;

/// A header's fields, in a file of either version and byte order.
#[derive(Clone)]
struct File {
    version: u8,
    big_endian: bool,
    magic: &'static [u8; 4],
    dim: Vec<i64>,
    datatype: i16,
    pixdim: [f64; 4],
    vox_offset: f64,
    slope: f64,
    inter: f64,
    codes: [i16; 2],
    quaternion: [f64; 3],
    qoffset: [f64; 3],
    srow: [[f64; 4]; 3],
    /// Bytes between header and voxels, `vox_offset` permitting.
    between: Vec<u8>,
    voxels: Vec<u8>,
}

const SROW: [[f64; 4]; 3] = [[-2.0, 0.0, 0.0, 7.0], [0.0, 1.5, 0.0, -8.0], [0.0, 0.0, 4.0, 9.0]];
/// 2×3×2 voxels.
const COUNT: usize = 12;

fn file(version: u8) -> File {
    File {
        version,
        big_endian: false,
        magic: if version == 1 { b"n+1\0" } else { b"n+2\0" },
        dim: vec![2, 3, 2],
        datatype: 2,
        pixdim: [-1.0, 2.0, 1.5, 4.0],
        vox_offset: if version == 1 { 352.0 } else { 544.0 },
        slope: 0.0,
        inter: 0.0,
        codes: [0, 2],
        quaternion: [0.0; 3],
        qoffset: [0.0; 3],
        srow: SROW,
        between: vec![0; 4],
        voxels: (0..COUNT as u8).collect(),
    }
}

/// `value` as a number of `N` bytes at `at`.
fn put<const N: usize>(bytes: &mut [u8], big_endian: bool, at: usize, mut value: [u8; N]) {
    if big_endian {
        value.reverse();
    }
    bytes[at..at + N].copy_from_slice(&value);
}

impl File {
    /// The fixed part: offsets of nifti1.h and nifti2.h.
    fn header(&self) -> Vec<u8> {
        let big = self.big_endian;
        let mut dim = vec![self.dim.len() as i64];
        dim.extend(&self.dim);
        dim.resize(8, 1);
        let mut pixdim = self.pixdim.to_vec();
        pixdim.resize(8, 1.0);
        if self.version == 1 {
            let mut bytes = vec![0; 348];
            put(&mut bytes, big, 0, 348i32.to_le_bytes());
            dim.iter().enumerate().for_each(|(i, n)| put(&mut bytes, big, 40 + 2 * i, (*n as i16).to_le_bytes()));
            put(&mut bytes, big, 70, self.datatype.to_le_bytes());
            let mut float = |at: usize, value: f64| put(&mut bytes, big, at, (value as f32).to_le_bytes());
            pixdim.iter().enumerate().for_each(|(i, value)| float(76 + 4 * i, *value));
            [self.vox_offset, self.slope, self.inter]
                .iter()
                .enumerate()
                .for_each(|(i, value)| float(108 + 4 * i, *value));
            let form = self.quaternion.iter().chain(&self.qoffset).chain(self.srow.as_flattened());
            form.enumerate().for_each(|(i, value)| float(256 + 4 * i, *value));
            put(&mut bytes, big, 252, self.codes[0].to_le_bytes());
            put(&mut bytes, big, 254, self.codes[1].to_le_bytes());
            bytes[344..].copy_from_slice(self.magic);
            return bytes;
        }
        let mut bytes = vec![0; 540];
        put(&mut bytes, big, 0, 540i32.to_le_bytes());
        bytes[4..8].copy_from_slice(self.magic);
        bytes[8..12].copy_from_slice(&[13, 10, 26, 10]);
        put(&mut bytes, big, 12, self.datatype.to_le_bytes());
        dim.iter().enumerate().for_each(|(i, n)| put(&mut bytes, big, 16 + 8 * i, n.to_le_bytes()));
        put(&mut bytes, big, 168, (self.vox_offset as i64).to_le_bytes());
        put(&mut bytes, big, 344, i32::from(self.codes[0]).to_le_bytes());
        put(&mut bytes, big, 348, i32::from(self.codes[1]).to_le_bytes());
        let mut float = |at: usize, value: f64| put(&mut bytes, big, at, value.to_le_bytes());
        pixdim.iter().enumerate().for_each(|(i, value)| float(104 + 8 * i, *value));
        [self.slope, self.inter].iter().enumerate().for_each(|(i, value)| float(176 + 8 * i, *value));
        let form = self.quaternion.iter().chain(&self.qoffset).chain(self.srow.as_flattened());
        form.enumerate().for_each(|(i, value)| float(352 + 8 * i, *value));
        bytes
    }
    fn bytes(&self) -> Vec<u8> {
        [self.header(), self.between.clone(), self.voxels.clone()].concat()
    }
    fn read(&self) -> Result<Volume> {
        nifti::read_bytes(&self.bytes(), Path::new("memory.nii"))
    }
    fn error(&self) -> String {
        self.read().map(drop).unwrap_err().message().to_owned()
    }
}

fn values(volume: &Volume) -> Vec<f64> {
    segbundle_image::each_voxels!(&volume.voxels, voxels => voxels.iter().map(|x| segbundle_image::Element::to_f64(*x)).collect())
}

fn affine(rows: [[f64; 4]; 3]) -> Affine {
    Affine([rows[0], rows[1], rows[2], [0.0, 0.0, 0.0, 1.0]])
}

/// The largest difference of two elements.
fn farthest(a: &Affine, b: &Affine) -> f64 {
    a.0.iter().flatten().zip(b.0.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Numbers at the ends of each type, in all versions and byte orders, plain and packed, in a file and in a pair.
#[test]
fn every_type_and_byte_order_is_read() {
    let folder = tempfile::tempdir().unwrap();
    macro_rules! types {
        ($($code:literal $number:ty),*) => { [$( ($code, {
            let (min, max) = (<$number>::MIN, <$number>::MAX);
            let numbers: [$number; COUNT] = [min, max, 0 as $number, 1 as $number, 2 as $number, 100 as $number, max / 2 as $number, min / 2 as $number, 3 as $number, 4 as $number, 5 as $number, 6 as $number];
            (numbers.map(|x| x as f64).to_vec(), numbers.map(|x| x.to_le_bytes().to_vec()).to_vec())
        }) ),*] };
    }
    // Code, and the numbers as float64 and in bytes.
    type StoredType = (i16, (Vec<f64>, Vec<Vec<u8>>));
    let types: [StoredType; 10] =
        types!(2 u8, 4 i16, 8 i32, 16 f32, 64 f64, 256 i8, 512 u16, 768 u32, 1024 i64, 1280 u64);
    for (datatype, (expected, numbers)) in types {
        for (version, big_endian) in [(1, false), (1, true), (2, false), (2, true)] {
            let ordered =
                |number: &Vec<u8>| if big_endian { number.iter().rev().copied().collect() } else { number.clone() };
            let voxels: Vec<u8> = numbers.iter().flat_map(ordered).collect();
            let single = File { big_endian, datatype, voxels, ..file(version) };
            let what = format!("type {datatype}, NIfTI-{version}, big-endian {big_endian}");
            let check = |volume: Volume| {
                assert_eq!(values(&volume), expected, "{what}");
                assert_eq!((volume.affine, volume.layout), (affine(SROW), Layout::fortran([1, 2, 3, 2])), "{what}");
            };
            check(single.read().unwrap());
            check(nifti::read_bytes(&gzipped(&single.bytes()), Path::new("memory")).unwrap());
            let pair = File { magic: if version == 1 { b"ni1\0" } else { b"ni2\0" }, vox_offset: 0.0, ..single };
            for (end, packed) in [("", false), (".gz", true)] {
                let path = |kind: &str| folder.path().join(format!("pair.{kind}{end}"));
                let pack = |bytes: &[u8]| if packed { gzipped(bytes) } else { bytes.to_vec() };
                std::fs::write(path("hdr"), pack(&pair.header())).unwrap();
                std::fs::write(path("img"), pack(&pair.voxels)).unwrap();
                check(nifti::read(path("hdr")).unwrap());
                check(nifti::read(path("img")).unwrap());
            }
        }
    }
}

/// Stored · slope + inter in float64, rounded to float32; a slope that is 0 or no number means "as stored".
#[test]
fn values_are_scaled() {
    for version in [1, 2] {
        let scaled = File { slope: 0.5, inter: -3.25, ..file(version) }.read().unwrap();
        assert_eq!(values(&scaled), (0..COUNT).map(|i| i as f64 * 0.5 - 3.25).collect::<Vec<_>>());
        for (slope, inter) in [(0.0, 5.0), (f64::NAN, 5.0), (f64::INFINITY, 0.0), (1.0, 0.0)] {
            let stored = File { slope, inter, ..file(version) }.read().unwrap();
            assert_eq!(values(&stored), (0..COUNT).map(|i| i as f64).collect::<Vec<_>>(), "{slope} {inter}");
        }
        assert!(File { slope: 2.0, inter: f64::NAN, ..file(version) }.error().contains("scl_inter"));
    }
}

/// The sform counts if it has a code, else the qform if it has one, else voxel sizes around the volume's middle with x to
/// the left.
#[test]
fn the_affine_is_that_of_the_form_with_a_code() {
    // A quarter turn about z: x runs to +y, y to -x.
    let half = 0.5f64.sqrt();
    let turned = [[0.0, -1.5, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0], [0.0, 0.0, -4.0, 3.0]];
    let centerd = [[-2.0, 0.0, 0.0, 1.0], [0.0, 1.5, 0.0, -1.5], [0.0, 0.0, 4.0, -2.0]];
    for version in [1, 2] {
        let forms = File { quaternion: [0.0, 0.0, half], qoffset: [1.0, 2.0, 3.0], ..file(version) };
        for (codes, expected) in
            [([0, 2], SROW), ([1, 2], SROW), ([1, 0], turned), ([0, 0], centerd), ([-7, 99], centerd)]
        {
            let found = File { codes, ..forms.clone() }.read().unwrap().affine;
            let off = farthest(&found, &affine(expected));
            // The quaternion is in float32.
            assert!(off < 1e-6, "NIfTI-{version} {codes:?}: {found:?}");
        }
        // qfac is -1 or else 1.
        let flipped = File { codes: [1, 0], pixdim: [0.0, 2.0, 1.5, 4.0], ..forms.clone() }.read().unwrap().affine;
        assert!((flipped.0[2][2] - 4.0).abs() < 1e-6);
        // A sform that contradicts the voxel sizes gives way to a qform that does not, as in MONAI.
        let srow = SROW.map(|row| row.map(|value| value * 1.1));
        let corrected = File { srow, codes: [1, 2], ..forms.clone() }.read().unwrap().affine;
        assert!((corrected.0[1][0] - 2.0).abs() < 1e-6, "{corrected:?}");
        // Unless the qform is broken itself.
        let kept = File { srow, codes: [1, 2], quaternion: [0.9; 3], ..forms }.read().unwrap().affine;
        assert!((kept.0[0][0] + 2.2).abs() < 1e-6, "{kept:?}");
    }
}

/// ITK and FSL normalize it; nibabel refuses it.
#[test]
fn a_quaternion_that_is_too_long_by_rounding_is_normalized() {
    let turn = |squared: f64| File {
        codes: [1, 0],
        quaternion: [0.0, 0.0, squared.sqrt()],
        pixdim: [1.0, 2.0, 1.5, 4.0],
        ..file(1)
    };
    for squared in [1.0, 1.0 + 6.4e-7, 1.0 + 5e-6] {
        let found = turn(squared).read().unwrap().affine;
        let expected = [[-2.0, 0.0, 0.0, 0.0], [0.0, -1.5, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]];
        let off = farthest(&found, &affine(expected));
        assert!(off < 1e-6, "{squared}: {found:?}");
    }
    // A result on this grid can be read by nibabel, whose bound this is.
    let forms = turn(1.0 + 6.4e-7).read().unwrap().header.space.unwrap().forms.unwrap();
    let squared: f64 = forms.quaternion.iter().map(|value| f64::from(*value).powi(2)).sum();
    assert!(squared <= 1.0 + 3.0 * f64::from(f32::EPSILON), "{squared}");
    assert!(turn(1.01).error().contains("quaternion of length at most 1"));
}

#[test]
fn axes_of_any_number_become_channels_and_space() {
    for version in [1, 2] {
        for (dim, shape, spatial_dims, channels) in [
            (vec![12], [1, 12, 1, 1], 1, None),
            (vec![4, 3], [1, 4, 3, 1], 2, None),
            (vec![4, 3, 1], [1, 4, 3, 1], 3, None),
            (vec![2, 3, 2, 1], [1, 2, 3, 2], 3, Some(1)),
            (vec![2, 3, 1, 2], [2, 2, 3, 1], 3, Some(2)),
            (vec![3, 1, 2, 1, 2], [2, 3, 1, 2], 3, Some(2)),
            (vec![3, 2, 2, 1, 1, 1, 1], [1, 3, 2, 2], 3, Some(1)),
        ] {
            let volume = File { dim: dim.clone(), ..file(version) }.read().unwrap();
            assert_eq!(volume.layout, Layout::fortran(shape), "{dim:?}");
            assert_eq!((volume.header.spatial_dims, volume.header.channels), (spatial_dims, channels), "{dim:?}");
        }
        for (dim, part) in [
            (vec![2, 1, 1, 3, 2], "at most one axis beyond"),
            (vec![2, 0, 6], "at least one voxel"),
            (vec![2, -3, -2], "at least one voxel"),
            (vec![], "1 to 7 dimensions"),
            (vec![200, 300, 200], "truncated"),
        ] {
            let error = File { dim: dim.clone(), ..file(version) }.error();
            assert!(error.contains(part), "{dim:?}: {error}");
        }
    }
    let error = File { dim: vec![i64::MAX, 1 << 40, 7], ..file(2) }.error();
    assert!(error.contains("truncated"), "{error}");
}

#[test]
fn voxels_start_where_the_header_says() {
    for version in [1, 2] {
        let least = file(version).vox_offset;
        // Offsets that are no multiple of anything, extensions whole and broken, and 0 for "after the header".
        for (vox_offset, between) in [(0.0, 4), (least + 5.0, 9), (least + 128.0, 132)] {
            let mut bytes = vec![0xff; between];
            bytes[..4].copy_from_slice(&[u8::from(between > 4), 0, 0, 0]);
            let volume = File { vox_offset, between: bytes, ..file(version) }.read().unwrap();
            assert_eq!(values(&volume), (0..COUNT).map(|i| i as f64).collect::<Vec<_>>(), "{vox_offset}");
        }
        // What follows the voxels is left alone, packed or not.
        let bytes = [file(version).bytes(), vec![7; 50]].concat();
        for bytes in [bytes.clone(), gzipped(&bytes), [gzipped(&file(version).bytes()), vec![0; 20]].concat()] {
            assert_eq!(values(&nifti::read_bytes(&bytes, Path::new("x")).unwrap()).len(), COUNT);
        }
        for vox_offset in [8.0, -1.0, least - 1.0] {
            let error = File { vox_offset, ..file(version) }.error();
            assert!(error.contains("vox_offset"), "{error}");
        }
        assert!(File { vox_offset: 1e6, ..file(version) }.error().contains("truncated"));
    }
    assert!(File { vox_offset: f64::NAN, ..file(1) }.error().contains("vox_offset"));
    // Fractions are truncated.
    assert_eq!(values(&File { vox_offset: 352.9, ..file(1) }.read().unwrap())[1], 1.0);
}

#[test]
fn extensions_are_read_in_both_byte_orders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.nii");
    for (version, big_endian) in [(1, false), (1, true), (2, false), (2, true)] {
        let number = |value: i32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let between =
            [&[1, 0, 0, 0][..], &number(16), &number(6), b"comment\0", &number(32), &number(4), &[b'x'; 24]].concat();
        let offset = file(version).vox_offset + 48.0;
        std::fs::write(&path, File { big_endian, between, vox_offset: offset, ..file(version) }.bytes()).unwrap();
        assert_eq!(nifti::read_extensions(&path).unwrap(), [b"comment\0".to_vec(), vec![b'x'; 24]]);
        assert_eq!(values(&nifti::read(&path).unwrap())[11], 11.0);
    }
}

#[test]
fn files_that_end_early_and_files_of_other_kinds_are_errors() {
    for version in [1, 2] {
        let bytes = file(version).bytes();
        for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            assert!(nifti::read_bytes(&bytes[..length], Path::new("x")).is_err(), "{length} bytes");
            let packed = gzipped(&bytes);
            let length = length.min(packed.len() - 1);
            assert!(nifti::read_bytes(&packed[..length], Path::new("x")).is_err(), "{length} packed bytes");
        }
        for (datatype, part) in
            [(1, "bits"), (32, "complex"), (128, "RGB"), (2304, "RGBA"), (1536, "128-bit"), (77, "unknown")]
        {
            assert!(File { datatype, ..file(version) }.error().contains(part));
        }
        for srow in [[[0.0; 4]; 3], [[f64::NAN; 4]; 3], [SROW[0], SROW[0], SROW[2]]] {
            let error = File { srow, quaternion: [0.9; 3], ..file(version) }.error();
            assert!(error.contains("affine"), "{error}");
        }
    }
    assert!(File { magic: b"abcd", ..file(1) }.error().contains("ANALYZE"));
    let mut text = file(2).bytes();
    text[8..12].copy_from_slice(&[10, 26, 10, 10]);
    assert!(nifti::read_bytes(&text, Path::new("x")).unwrap_err().message().contains("transferred as text"));
}
