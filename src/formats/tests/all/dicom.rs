//! DICOM series written by pydicom, against the arrays that they were written from and SimpleITK (tests/data/dicom/make.py).

use crate::damaged;
use proptest::prelude::*;
use segbundle_formats::{dicom, reader};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/dicom")
}

/// What differs between the files in `folder` and its expected.json.
fn differences(folder: &Path) -> (usize, Vec<String>) {
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (mut agree, mut wrong) = (0, vec![]);
    for (name, expected) in expected.as_object().unwrap() {
        let read = reader::read(folder.join(name), None);
        let problem = match (&read, expected.get("error")) {
            (Err(error), Some(part)) if error.message().contains(part.as_str().unwrap()) => None,
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), Some(part)) => Some(format!("read, expected the error {part}")),
            (Ok(volume), None) => {
                let values = volume.to_f32_vec().unwrap();
                let numbers = expected["affine"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
                // Positions are text of 16 characters.
                let far = volume
                    .affine
                    .0
                    .iter()
                    .flatten()
                    .zip(numbers)
                    .any(|(ours, given)| (ours - given.as_f64().unwrap()).abs() > 1e-5);
                if serde_json::json!(volume.layout.shape) != expected["shape"] {
                    Some(format!("shape {:?}, expected {}", volume.layout.shape, expected["shape"]))
                } else if far && name != "uneven" {
                    Some(format!("affine {:?}, expected {}", volume.affine, expected["affine"]))
                } else {
                    different(&values, expected)
                }
            }
        };
        match problem {
            None => agree += 1,
            Some(problem) => wrong.push(format!("{name}: {problem}")),
        }
    }
    (agree, wrong)
}

/// Exact decodings are known by their hash, those with loss by their values and how far decoders may be apart.
fn different(values: &[f32], expected: &Value) -> Option<String> {
    if let Some(hash) = expected.get("sha256") {
        let mut ours = Sha256::new();
        values.iter().for_each(|value| ours.update(value.to_le_bytes()));
        let ours: String = ours.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        return (ours != hash.as_str().unwrap()).then(|| "voxels differ".to_owned());
    }
    let theirs = expected["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
    let most = values.iter().zip(theirs).map(|(ours, theirs)| (f64::from(*ours) - theirs).abs()).fold(0.0, f64::max);
    (most > expected["tolerance"].as_f64().unwrap()).then(|| format!("voxels differ by {most}"))
}

#[test]
fn series_become_the_volumes_that_they_were_cut_from() {
    let (agree, wrong) = differences(&folder());
    assert!(wrong.is_empty(), "{} different:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(agree, 20);
}

/// Written and decoded by pydicom and its plugins (tests/data/dicom/make_compressed.py).
#[test]
fn compressed_series_are_decoded_as_pydicom_does() {
    let (agree, wrong) = differences(&folder().join("compressed"));
    assert!(wrong.is_empty(), "{} different:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(agree, 29);
    for name in ["extended_12", "high_throughput"] {
        let error = reader::read(folder().join("compressed").join(name), None).unwrap_err();
        assert!(error.message().lines().count() == 1 && error.get_hint().unwrap().contains("gdcmconv"), "{error}");
    }
}

/// The same over series that make.py or make_compressed.py wrote from a real CT: `DICOM_CHECKS=folder`.
#[test]
#[ignore = "needs DICOM series of a real CT: DICOM_CHECKS=folder"]
fn series_of_a_real_ct() {
    let folder = std::env::var_os("DICOM_CHECKS").expect("DICOM_CHECKS names the folder of expected.json");
    let (agree, wrong) = differences(Path::new(&folder));
    println!("{agree} agree");
    assert!(wrong.is_empty(), "{} different:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_series_can_be_named() {
    let two = folder().join("two");
    let error = dicom::read_folder(&two, None).unwrap_err();
    assert!(error.message().contains("series 2 `Series 2`, CT, 5 slices of 6×4, UID 1.2.826"), "{error}");
    assert_eq!(error.get_file(), two.to_str());
    for name in ["2", "Series 2", "1.2.826.0.1.3680043.8.498.2"] {
        assert_eq!(dicom::read_folder(&two, Some(name)).unwrap().layout.shape, [1, 6, 4, 5]);
    }
    assert!(dicom::read_folder(&two, Some("7")).unwrap_err().message().contains("expected a series `7`"));
}

/// One UID begins as the other; both begin as the number 1.
#[test]
fn a_series_is_named_by_its_whole_uid_or_number_before_the_beginning_of_a_uid() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["two/a", "two/b"] {
        copy_of(name, &scratch.path().join(name.replace('/', " ")));
    }
    for entry in std::fs::read_dir(scratch.path().join("two b")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len() - 6).filter(|at| &bytes[*at..at + 6] == b"498.2\0").collect();
        places.into_iter().for_each(|at| bytes[at..at + 6].copy_from_slice(b"498.10"));
        std::fs::write(path, bytes).unwrap();
    }
    let first = dicom::read_folder(scratch.path().join("two a"), None).unwrap().to_f32_vec().unwrap();
    for name in ["1.2.826.0.1.3680043.8.498.1", "1", "Series 1"] {
        let found = dicom::read_folder(scratch.path(), Some(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.to_f32_vec().unwrap(), first, "{name}");
    }
    assert!(dicom::read_folder(scratch.path(), Some("1.2.826.0.1.3680043.8.498.10")).is_ok());
    let error = dicom::read_folder(scratch.path(), Some("1.2.826")).unwrap_err();
    assert!(error.message().contains("498.10") && error.message().contains("found 2"), "{error}");
}

#[test]
fn faults_of_folders_and_files_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let error = dicom::read_folder(scratch.path(), None).unwrap_err();
    assert!(error.message().contains("found none in 0 files"), "{error}");
    assert!(
        dicom::read_folder(scratch.path().join("no"), None).unwrap_err().message().contains("cannot read the folder")
    );
    // One slice that is truncated ends the case; it is named.
    for name in ["explicit", "jpegls", "jpeg2000", "rle"] {
        let copy = scratch.path().join(name);
        copy_of(name, &copy);
        let broken = copy.join("IM0000.dcm");
        let bytes = std::fs::read(&broken).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() - 30]).unwrap();
        let error = dicom::read_folder(&copy, None).unwrap_err();
        assert_eq!(error.get_file(), broken.to_str(), "{name}: {error}");
    }
}

fn copy_of(name: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(folder().join(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Wherever a file ends early, it is named and not left out.
#[test]
fn a_slice_that_is_cut_off_anywhere_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["explicit", "implicit", "jpegls", "compressed/fragments"] {
        let copy = scratch.path().join(name.replace('/', " "));
        copy_of(name, &copy);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let last = files.last().unwrap();
        let whole = std::fs::read(last).unwrap();
        // The end of a sequence of fragments (8 bytes) is not needed.
        for length in 0..whole.len() - 9 {
            std::fs::write(last, &whole[..length]).unwrap();
            let error = dicom::read_folder(&copy, None)
                .map(drop)
                .expect_err(&format!("{name}, {length} bytes of {}", whole.len()));
            assert_eq!(error.get_file(), last.to_str(), "{name}, {length} bytes: {error}");
        }
    }
}

/// The same of names as media have them, without `.dcm`: what is left of the preamble still shows what it was.
#[test]
fn a_slice_without_extension_that_is_cut_off_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy");
    copy_of("explicit", &copy);
    let whole = std::fs::read(copy.join("IM0997.dcm")).unwrap();
    std::fs::remove_file(copy.join("IM0997.dcm")).unwrap();
    for name in ["IM0997", "1.2.840.997"] {
        let last = copy.join(name);
        for length in [1, 100, 131, 132, 200, whole.len() - 30] {
            std::fs::write(&last, &whole[..length]).unwrap();
            let error = dicom::read_folder(&copy, None).map(drop).expect_err(&format!("{name}, {length} bytes"));
            assert_eq!(error.get_file(), last.to_str(), "{name}, {length} bytes: {error}");
        }
        std::fs::remove_file(&last).unwrap();
    }
}

/// A README, a DICOMDIR, an empty file, a hidden one: what a medium brings along.
#[test]
fn files_of_other_kinds_in_a_folder_are_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("medium");
    copy_of("explicit", &copy);
    std::fs::copy(folder().join("mixed/DICOMDIR"), copy.join("DICOMDIR")).unwrap();
    for (name, text) in
        [("README", "slices"), ("empty", ""), (".hidden.dcm", "x"), ("autorun.inf", "[autorun]"), ("a.json", "{}")]
    {
        std::fs::write(copy.join(name), text).unwrap();
    }
    assert_eq!(dicom::read_folder(&copy, None).unwrap().layout.shape, [1, 6, 4, 5]);
}

#[test]
fn one_file_is_one_slice() {
    let volume = reader::read(folder().join("explicit/IM0000.dcm"), None).unwrap();
    assert_eq!(volume.layout.shape, [1, 6, 4, 1]);
    assert!((volume.grid().affine.spacing_mm()[2] - 2.5).abs() < 1e-9);
}

proptest! {
    /// Any change of a good file is an error or slices, never a panic or a large allocation.
    #[test]
    fn changed_files_do_no_harm(file in prop::sample::select(vec!["implicit/IM0000.dcm", "explicit/IM0000.dcm", "big/IM0000.dcm", "rle/IM0000.dcm", "jpegls/IM0000.dcm", "jpeg2000/IM0000.dcm", "enhanced.dcm", "enhanced_rle.dcm"]),
                                changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let bytes = damaged(std::fs::read(folder().join(file)).unwrap(), changes, cut, whole);
        let _ = dicom::check_bytes(bytes);
    }
}

/// A slice of 4×3 voxels of `value`, explicit little-endian, as few elements as a CT image needs.
fn ct_slice(instance: u32, acquisition: u32, position: [f64; 3], orientation: &str, value: i16) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let mut put = |group: u16, element: u16, vr: &str, value: &[u8]| {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == "UI" { 0 } else { b' ' });
        }
        bytes.extend(group.to_le_bytes());
        bytes.extend(element.to_le_bytes());
        bytes.extend(vr.as_bytes());
        match vr {
            "OW" => {
                bytes.extend([0, 0]);
                bytes.extend((value.len() as u32).to_le_bytes());
            }
            _ => bytes.extend((value.len() as u16).to_le_bytes()),
        }
        bytes.extend(value);
    };
    let [x, y, z] = position;
    put(2, 0x10, "UI", b"1.2.840.10008.1.2.1");
    put(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.2");
    put(8, 0x18, "UI", format!("1.2.3.{acquisition}.{instance}").as_bytes());
    put(8, 0x60, "CS", b"CT");
    put(0x20, 0x0e, "UI", b"1.2.3");
    put(0x20, 0x11, "IS", b"4");
    put(0x20, 0x12, "IS", acquisition.to_string().as_bytes());
    put(0x20, 0x13, "IS", instance.to_string().as_bytes());
    put(0x20, 0x32, "DS", format!("{x}\\{y}\\{z}").as_bytes());
    put(0x20, 0x37, "DS", orientation.as_bytes());
    put(0x28, 0x02, "US", &1u16.to_le_bytes());
    put(0x28, 0x04, "CS", b"MONOCHROME2");
    put(0x28, 0x10, "US", &3u16.to_le_bytes());
    put(0x28, 0x11, "US", &4u16.to_le_bytes());
    put(0x28, 0x30, "DS", b"3\\3");
    for (element, bits) in [(0x100, 16u16), (0x101, 16), (0x102, 15), (0x103, 1)] {
        put(0x28, element, "US", &bits.to_le_bytes());
    }
    put(0x7fe0, 0x10, "OW", &[value; 12].map(i16::to_le_bytes).concat());
    bytes
}

/// Files are padded to whole sectors; a file whose rest is lost may end in zeros, too, in many.
#[test]
fn a_long_run_of_zeros_in_place_of_elements_is_a_damaged_file() {
    let slice = ct_slice(1, 1, [0.0; 3], AXIAL, 0);
    let without_pixels = &slice[..slice.len() - 36];
    let error = |rest: &[u8]| {
        let checked = dicom::check_bytes([without_pixels, rest].concat());
        checked.map_or_else(|error| error.to_string(), |slices| format!("{slices} slices"))
    };
    let damaged = format!("no element begins at byte {}", without_pixels.len());
    assert!(!error(&[0; 512]).contains(&damaged), "{}", error(&[0; 512]));
    let mut ends_in_one = vec![0; 10_000];
    ends_in_one.push(1);
    for rest in [ends_in_one, vec![0; (1 << 20) + 1]] {
        assert!(error(&rest).contains(&damaged), "{}", error(&rest));
    }
}

const AXIAL: &str = "1\\0\\0\\0\\1\\0";
const SAGITTAL: &str = "0\\1\\0\\0\\0\\-1";

/// As a scanner stores a survey image with the series that was planned on it (dcm2niix issue 277).
#[test]
fn a_single_slice_of_another_orientation_inside_a_series_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..5 {
        let slice = ct_slice(i + 1, 1, [0.0, 0.0, 2.0 * f64::from(i)], AXIAL, i as i16);
        std::fs::write(folder.path().join(format!("{i}.dcm")), slice).unwrap();
    }
    std::fs::write(folder.path().join("odd.dcm"), ct_slice(9, 1, [0.0; 3], SAGITTAL, 99)).unwrap();
    let volume = dicom::read_folder(folder.path(), None).unwrap();
    assert_eq!(volume.layout.shape, [1, 4, 3, 5]);
    assert_eq!(volume.to_f32_vec().unwrap()[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
    // Beside two slices it is not clear which one is odd.
    (2..5).for_each(|i| std::fs::remove_file(folder.path().join(format!("{i}.dcm"))).unwrap());
    assert!(dicom::read_folder(folder.path(), None).unwrap_err().message().contains("expected one DICOM volume"));
}

#[test]
fn several_volumes_in_one_series_are_parts_that_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..3 {
        let along = 2.0 * f64::from(i);
        for (name, slice) in [
            ("a", ct_slice(i + 1, 1, [0.0, 0.0, along], AXIAL, 10)),
            ("b", ct_slice(i + 11, 2, [0.0, 0.0, along], AXIAL, 20)),
            ("c", ct_slice(i + 21, 3, [along, 0.0, 0.0], SAGITTAL, 30)),
        ] {
            std::fs::write(folder.path().join(format!("{name}{i}.dcm")), slice).unwrap();
        }
    }
    let error = dicom::read_folder(folder.path(), None).unwrap_err();
    assert!(error.message().contains("expected one DICOM volume in the folder, found 3"), "{error}");
    assert!(error.message().contains("series 4 ``, part 2, CT, 3 slices of 4×3, UID 1.2.3"), "{error}");
    assert!(error.get_hint().unwrap().contains("series_name='4#1'"), "{error}");
    for (name, value) in [("4#1", 10.0), ("4#2", 20.0), ("1.2.3#2", 20.0), ("1.2#3", 30.0)] {
        let volume = dicom::read_folder(folder.path(), Some(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(volume.layout.shape, [1, 4, 3, 3], "{name}");
        assert!(volume.to_f32_vec().unwrap().iter().all(|voxel| *voxel == value), "{name}");
    }
    for name in ["4#4", "4#0", "4#x", "5#1"] {
        let error = dicom::read_folder(folder.path(), Some(name)).unwrap_err();
        assert!(error.message().contains(&format!("expected a series `{name}`")), "{error}");
    }
}

#[test]
fn the_files_of_a_series_are_hashed_while_they_are_read() {
    let digests = segbundle_formats::digest::FileDigests::default();
    reader::read_hashed(folder().join("explicit"), None, Some(&digests)).unwrap();
    let files = reader::files(folder().join("explicit")).unwrap();
    assert!(files.len() == 5);
    for file in files {
        assert_eq!(digests.get(&file).unwrap(), segbundle_formats::digest::of_file(&file).unwrap());
    }
}
