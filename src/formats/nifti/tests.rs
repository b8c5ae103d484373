//! Round trips, the header bytes that MONAI writes, and hostile files.

use super::header::{CheckedHeader, SIZE_1};
use super::*;
use crate::each_voxels;
use crate::image::{Affine, Element, Layout, Volume, Voxels};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const OBLIQUE: Affine =
    Affine([[1.5, 0.25, 0.0, 10.0], [-0.25, 2.0, 0.5, -20.0], [0.0, -0.5, 3.0, 30.0], [0.0, 0.0, 0.0, 1.0]]);

fn bytes_of(voxels: &Voxels, layout: &Layout, dtype: DType, gzipped: bool) -> Vec<u8> {
    let mut out = vec![];
    write_to(&mut out, gzipped, voxels, layout, &OBLIQUE, dtype, Options::default()).unwrap();
    out
}

fn parse(bytes: &[u8]) -> crate::error::Result<Volume> {
    read_bytes(bytes, Path::new("memory.nii"))
}

fn message(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().message().to_owned()
}

fn small() -> Vec<u8> {
    let voxels = Voxels::I16((0..60).collect());
    bytes_of(&voxels, &Layout::fortran([1, 3, 4, 5]), DType::I16, false)
}

fn patched(at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = small();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

/// tests/data/nifti/make.py writes headers with MONAI; every byte is equal, but for the signs that the module names.
#[test]
fn headers_are_those_of_monai() {
    let golden = include_bytes!("../../../tests/data/nifti/headers.bin");
    assert_eq!(golden.len(), 69 * SIZE_1);
    for (case, golden) in golden.chunks(SIZE_1).enumerate() {
        let header = CheckedHeader::parse(golden, true).unwrap();
        let [x, y] = [header.shape[0], header.shape[1]];
        let z = header.shape.get(2).copied().unwrap_or(1);
        let channels = header.shape.get(3).copied().unwrap_or(1);
        let layout = Layout::contiguous([channels, x, y, z]);
        let voxels = Voxels::U8(vec![0; channels * x * y * z].into());
        let [r0, r1, r2] = header.srow;
        let affine = Affine([r0, r1, r2, [0.0, 0.0, 0.0, 1.0]]);
        let options = Options {
            squeeze_end_dims: header.shape != [3, 4, 5, 1],
            spatial_dims: header.shape.len().min(3),
            ..Options::default()
        };
        let mut out = vec![];
        write_to(&mut out, false, &voxels, &layout, &affine, header.dtype, options).unwrap();
        let ours = &mut out[..SIZE_1];
        let quaternion =
            |bytes: &[u8]| [0, 4, 8].map(|at| f32::from_le_bytes(bytes[256 + at..260 + at].try_into().unwrap()));
        let (q_ours, q_golden) = (quaternion(ours), quaternion(golden));
        // Half a unit of f32 at 1: the decompositions differ in f64's last digits, and 0 has two signs.
        for (a, b) in q_ours.iter().zip(q_golden) {
            assert!((a - b).abs() <= 6e-8, "case {case}: quaternion {q_ours:?}, MONAI {q_golden:?}");
        }
        ours[256..268].copy_from_slice(&golden[256..268]);
        assert_eq!(ours, golden, "case {case}");
    }
}

#[test]
fn every_type_makes_the_round_trip_in_both_forms() {
    macro_rules! round_trip {
        ($($variant:ident $number:ty),*) => { $(
            let values: Arc<[$number]> = (0..2 * 3 * 4 * 5).map(|i| (i as $number) * (<$number>::MAX / 120 as $number)).collect();
            for gzipped in [false, true] {
                let layout = Layout::fortran([2, 3, 4, 5]);
                let volume = parse(&bytes_of(&Voxels::$variant(values.clone()), &layout, DType::$variant, gzipped)).unwrap();
                let Voxels::$variant(read) = &volume.voxels else { panic!("{:?}", volume.voxels) };
                assert_eq!(*read, values);
                assert_eq!((volume.layout, volume.affine, volume.header.channels), (layout, OBLIQUE, Some(2)));
            }
        )* };
    }
    round_trip!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64);
}

/// All orders and directions of the axes, sizes beyond one tile: the file holds voxel (c,x,y,z) at its place.
#[test]
fn any_layout_is_written_in_file_order() {
    let shape = [2usize, 70, 5, 67];
    let count: usize = shape.iter().product();
    let values: Voxels = Voxels::I32((0..count as i32).collect());
    for order in [[0, 1, 2, 3], [0, 3, 2, 1], [2, 0, 3, 1], [3, 1, 0, 2], [1, 2, 3, 0], [0, 2, 1, 3]] {
        for flipped in [[false; 4], [true, false, true, true], [false, true, false, false]] {
            let mut layout = Layout { offset: 0, shape, strides: [0; 4] };
            let mut stride = 1;
            for axis in order {
                layout.strides[axis] = stride;
                stride *= shape[axis] as isize;
            }
            for axis in 0..4 {
                if flipped[axis] {
                    layout.offset += (shape[axis] - 1) * layout.strides[axis] as usize;
                    layout.strides[axis] *= -1;
                }
            }
            let volume = parse(&bytes_of(&values, &layout, DType::F32, false)).unwrap();
            let Voxels::F32(read) = &volume.voxels else { panic!() };
            let mut read = read.iter();
            for c in 0..shape[0] {
                for z in 0..shape[3] {
                    for y in 0..shape[2] {
                        for x in 0..shape[1] {
                            let steps: isize =
                                [c, x, y, z].iter().zip(layout.strides).map(|(i, stride)| *i as isize * stride).sum();
                            assert_eq!(
                                *read.next().unwrap(),
                                (layout.offset as isize + steps) as f32,
                                "{order:?} {flipped:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let layout = Layout::fortran([1, 1, 1, 2]);
    let try_as =
        |voxels: Voxels, dtype| write_to(&mut vec![], false, &voxels, &layout, &OBLIQUE, dtype, Options::default());
    let error = try_as(Voxels::I16([7, 300].into()), DType::U8).unwrap_err();
    assert_eq!(error.message(), "expected values that fit uint8, found 300");
    for (value, dtype, fits) in [
        (255.9, DType::U8, true),
        (256.0, DType::U8, false),
        (-0.9, DType::U8, true),
        (-1.0, DType::U8, false),
        (f64::NAN, DType::I16, false),
        (f64::NAN, DType::F32, true),
        (1e300, DType::F32, false),
        (f64::INFINITY, DType::F32, true),
        (9.3e18, DType::I64, false),
        (-9.223372036854775e18, DType::I64, true),
        (1.8446744073709552e19, DType::U64, false),
    ] {
        assert_eq!(try_as(Voxels::F64([0.0, value].into()), dtype).is_ok(), fits, "{value} as {}", dtype.name());
    }
    assert!(try_as(Voxels::U64([0, u64::MAX].into()), DType::I64).is_err());
    assert!(try_as(Voxels::I16([0].into()), DType::I16).unwrap_err().message().contains("found 1 values"));
}

#[test]
fn writing_names_the_file_in_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (voxels, layout) = (Voxels::U8([1].into()), Layout::fortran([1, 1, 1, 1]));
    let write =
        |name: &str, affine| write(folder.path().join(name), &voxels, &layout, affine, DType::U8, Options::default());
    let error = write("x.mha", &OBLIQUE).unwrap_err();
    assert!(error.message().contains(".nii.gz") && error.get_file().unwrap().ends_with("x.mha"));
    assert!(write("x.nii.gz", &Affine([[0.0; 4]; 4])).unwrap_err().message().contains("invertible affine"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    write("new/x.nii.gz", &OBLIQUE).unwrap();
    assert_eq!(read(folder.path().join("new/x.nii.gz")).unwrap().header.grid.shape, [1, 1, 1]);
    assert!(read(folder.path().join("none.nii")).unwrap_err().message().starts_with("cannot read"));
    assert!(read(folder.path()).unwrap_err().message().starts_with("cannot read"));
}

/// Header fields at their byte offsets: 40 dim, 70 datatype, 108 vox_offset, 112 scl_slope, 116 scl_inter.
#[test]
fn scaling_is_computed_in_f64_and_rounded_to_f32() {
    let mut bytes = patched(112, &0.1f32.to_le_bytes());
    bytes[116..120].copy_from_slice(&(-1024.5f32).to_le_bytes());
    let Voxels::F32(read) = parse(&bytes).unwrap().voxels else { panic!() };
    for (stored, value) in read.iter().enumerate() {
        assert_eq!(*value, (stored as f64 * f64::from(0.1f32) - 1024.5) as f32);
    }
    let as_stored = |bytes: &[u8]| matches!(parse(bytes).unwrap().voxels, Voxels::I16(_));
    assert!(as_stored(&patched(112, &0f32.to_le_bytes())) && as_stored(&patched(112, &f32::NAN.to_le_bytes())));
    assert!(message(&patched(116, &f32::NAN.to_le_bytes())).contains("scl_inter"));
}

#[test]
fn hostile_headers_are_errors_without_large_allocations() {
    let dims = |dims: [i16; 8]| dims.map(i16::to_le_bytes).concat();
    assert!(message(&patched(40, &dims([3, 32767, 32767, 32767, 1, 1, 1, 1]))).contains("truncated"));
    assert!(
        message(&patched(40, &dims([7, 32767, 32767, 32767, 32767, 32767, 32767, 32767]))).contains("longer than 1")
    );
    assert!(message(&patched(40, &dims([3, 3, -4, 5, 1, 1, 1, 1]))).contains("at least one voxel"));
    assert!(message(&patched(70, &32i16.to_le_bytes())).contains("complex"));
    assert!(message(&patched(108, &1e9f32.to_le_bytes())).contains("truncated"));
    assert!(message(&patched(108, &10f32.to_le_bytes())).contains("vox_offset"));
    assert!(message(&patched(280, &f32::NAN.to_le_bytes())).contains("finite"));
    // The sform disagrees with pixdim, so the qform counts, whose origin (268) is no number. Found by fuzzing.
    let mut swapped = patched(76, &[1f32; 8].map(f32::to_le_bytes).concat());
    swapped[268..272].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(message(&swapped).contains("finite"));
    assert!(message(&patched(344, b"nope")).contains("ANALYZE"));
    let bytes = small();
    assert!(message(&bytes[..bytes.len() - 1]).contains("truncated"));
    assert!(message(&bytes[..100]).contains("header of 348"));
    assert!(message(b"").contains("empty"));
    assert!(message(b"<html>not found</html>").contains("NIfTI header"));
}

#[test]
fn gzip_in_members_damaged_and_lying() {
    let bytes = small();
    let zip = |parts: &[&[u8]]| {
        let member = |part: &&[u8]| {
            let mut encoder = GzEncoder::new(vec![], Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        };
        parts.iter().flat_map(member).collect::<Vec<u8>>()
    };
    // Borders inside the header, inside a voxel, and an empty member.
    let members = zip(&[&bytes[..7], &bytes[7..401], &[], &bytes[401..]]);
    assert_eq!(parse(&members).unwrap().layout.shape, [1, 3, 4, 5]);
    let whole = zip(&[&bytes]);
    let mut wrong = whole.clone();
    let end = wrong.len();
    wrong[end - 5] ^= 1;
    assert!(message(&wrong).contains("gzip"));
    assert!(message(&whole[..end - 3]).contains("gzip"));
    let huge = patched(40, &[3i16, 32767, 32767, 32767, 1, 1, 1, 1].map(i16::to_le_bytes).concat());
    assert!(message(&zip(&[&huge])).contains("truncated"));
}

proptest! {
    #[test]
    fn a_qform_gives_its_rotation_back(q in proptest::array::uniform4(-1.0f64..1.0), flip: bool, zooms in proptest::array::uniform3(0.2f64..5.0)) {
        let length = q.iter().map(|v| v * v).sum::<f64>().sqrt();
        prop_assume!(length > 0.1);
        let sign = q[0].signum() / length;
        let [a, b, c, d] = q.map(|v| v * sign);
        prop_assume!(a > 1e-6);
        let z = if flip { -zooms[2] } else { zooms[2] };
        let sizes = [zooms[0], zooms[1], z];
        let r = [
            [1.0 - 2.0 * (c * c + d * d), 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), 1.0 - 2.0 * (b * b + d * d), 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), 1.0 - 2.0 * (b * b + c * c)],
        ];
        let mut affine = Affine::IDENTITY;
        for (to, from) in affine.0.iter_mut().zip(r) {
            for column in 0..3 {
                to[column] = from[column] * sizes[column];
            }
        }
        let qform = geometry::to_qform(&affine).unwrap();
        prop_assert_eq!(qform.qfac, if flip { -1.0 } else { 1.0 });
        for (found, expected) in qform.quaternion.iter().chain(&qform.zooms).zip([b, c, d, zooms[0], zooms[1], zooms[2]]) {
            prop_assert!((found - expected).abs() < 1e-9, "{:?}", qform);
        }
    }

    #[test]
    fn changed_bytes_end_without_a_panic(changes in proptest::collection::vec((0usize..472, any::<u8>()), 1..20), cut in 0usize..473) {
        let mut bytes = small();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let _ = parse(&bytes);
        let _ = parse(&bytes[..cut.min(bytes.len())]);
    }
}

#[test]
fn the_inputs_codes_and_units_are_kept() {
    use crate::image::Space;
    let voxels = Voxels::U8(vec![0; 60].into());
    let straight = Affine([[2.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0]]);
    let sheared = Affine([[2.0, 0.0, 0.5, 1.0], [0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 0.0, 1.0]]);
    let written = |affine: &Affine, space: Space| {
        let options = Options { space: Some(space), ..Options::default() };
        let mut out = vec![];
        write_to(&mut out, false, &voxels, &Layout::fortran([1, 3, 4, 5]), affine, DType::U8, options).unwrap();
        Space { forms: None, ..parse(&out).unwrap().header.space.unwrap() }
    };
    let space = |qform_code, sform_code, units| Space { qform_code, sform_code, units, forms: None };
    assert_eq!(written(&straight, space(1, 4, 10)), space(1, 4, 10));
    assert_eq!(written(&straight, space(2, 0, 3)), space(2, 2, 3));
    assert_eq!(written(&straight, space(0, 3, 0)), space(3, 3, 0));
    assert_eq!(written(&straight, space(0, 0, 2)), space(1, 1, 2));
    assert_eq!(written(&sheared, space(1, 2, 2)), space(0, 2, 2));
}

/// Where qform and sform disagree or have no code, viewers differ in what they follow: a result on the input's grid has both.
#[test]
fn a_result_on_the_inputs_grid_keeps_both_forms() {
    let labels = Voxels::U8(vec![0; 60].into());
    // 252 qform_code, 254 sform_code, 256 the quaternion, 268 its offset, 280 the sform.
    let mut moved = small();
    moved[256..268].copy_from_slice(&[0.0f32, 0.0, 0.6].map(f32::to_le_bytes).concat());
    moved[268..280].copy_from_slice(&[5.0f32, -6.0, 7.0].map(f32::to_le_bytes).concat());
    for codes in [[1i16, 2], [0, 0], [2, 0], [0, 4]] {
        moved[252..256].copy_from_slice(&codes.map(i16::to_le_bytes).concat());
        let input = parse(&moved).unwrap();
        let options = Options { space: input.header.space, ..Options::default() };
        let written = |affine: &Affine, shape| {
            let mut out = vec![];
            write_to(&mut out, false, &labels, &Layout::contiguous(shape), affine, DType::U8, options).unwrap();
            out
        };
        // The affine after an inversion is off by rounding.
        let mut nearly = input.affine;
        nearly.0[0][3] += 1e-6;
        let ours = written(&nearly, [1, 3, 4, 5]);
        assert_eq!((&ours[76..92], &ours[252..328]), (&moved[76..92], &moved[252..328]), "{codes:?}");
        assert_eq!(parse(&ours).unwrap().affine, input.affine);
        let mut elsewhere = input.affine;
        elsewhere.0[0][3] += 1.0;
        for (affine, shape) in [(elsewhere, [1, 3, 4, 5]), (input.affine, [1, 5, 4, 3])] {
            let other = parse(&written(&affine, shape)).unwrap();
            let off = other.affine.0.iter().flatten().zip(affine.0.iter().flatten()).map(|(a, b)| (a - b).abs());
            assert!(other.header.space.unwrap().sform_code > 0 && off.fold(0.0, f64::max) < 1e-5, "{codes:?}");
        }
    }
}

/// Slices one by one or several at a time, each time beginning with the last of before, are the file's voxels; damage
/// anywhere is found as in reading at once.
#[test]
fn slices_are_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let shape = [1, 5, 4, 11];
    let values: Arc<[f32]> = (0..220u8).map(f32::from).collect();
    for dtype in [DType::U8, DType::I16, DType::I32, DType::F32, DType::F64] {
        for (gzipped, name) in [(false, "a.nii"), (true, "b.nii.gz")] {
            let path = folder.path().join(name);
            let bytes = bytes_of(&Voxels::F32(values.clone()), &Layout::fortran(shape), dtype, gzipped);
            std::fs::write(&path, &bytes).unwrap();
            for room in [1, 100, 333, 1 << 20] {
                let mut slices = SliceReader::with_room(&path, None, room).unwrap().unwrap();
                assert_eq!(slices.shape(), [5, 4, 11]);
                let mut next = 0;
                while let Some((range, voxels)) = slices.advance().unwrap() {
                    assert_eq!(range.start, usize::saturating_sub(next, 1));
                    let found: Vec<f64> =
                        each_voxels!(voxels, voxels => voxels.iter().map(|x| Element::to_f64(*x)).collect());
                    for (i, at) in (range.start * 20..range.end * 20).enumerate() {
                        assert_eq!(found[i], f64::from(values[at]), "{dtype:?} {room}");
                    }
                    next = range.end;
                }
                assert_eq!(next, 11);
            }
            // Cut off, or with another checksum.
            let mut broken = bytes.clone();
            let end = broken.len();
            if gzipped {
                broken[end - 5] ^= 1
            } else {
                broken.truncate(end - 1)
            }
            std::fs::write(&path, &broken).unwrap();
            let outcome = SliceReader::with_room(&path, None, 100).and_then(|slices| {
                let mut slices = slices.unwrap();
                while slices.advance()?.is_some() {}
                Ok(())
            });
            assert_eq!(outcome.unwrap_err().to_string(), read(&path).unwrap_err().to_string());
        }
    }
}
