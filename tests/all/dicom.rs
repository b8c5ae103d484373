//! DICOM series written by pydicom, against the arrays that they were written from and SimpleITK (tests/data/dicom/make.py).

use crate::common::damaged;
use proptest::prelude::*;
use segbundle::formats::{dicom, image};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom")
}

/// What differs between the files in `folder` and its expected.json.
fn differences(folder: &Path) -> (usize, Vec<String>) {
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (mut agree, mut wrong) = (0, vec![]);
    for (name, expected) in expected.as_object().unwrap() {
        let read = image::read(folder.join(name), None);
        let problem = match (&read, expected.get("error")) {
            (Err(error), Some(part)) if error.message().contains(part.as_str().unwrap()) => None,
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), Some(part)) => Some(format!("read, expected the error {part}")),
            (Ok(volume), None) => {
                let mut hash = Sha256::new();
                volume.to_f32_vec().unwrap().iter().for_each(|value| hash.update(value.to_le_bytes()));
                let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                let numbers = expected["affine"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
                // Positions are text of 16 characters.
                let far = volume.affine.0.iter().flatten().zip(numbers).any(|(ours, given)| (ours - given.as_f64().unwrap()).abs() > 1e-5);
                if serde_json::json!(volume.layout.shape) != expected["shape"] {
                    Some(format!("shape {:?}, expected {}", volume.layout.shape, expected["shape"]))
                } else if far && name != "uneven" {
                    Some(format!("affine {:?}, expected {}", volume.affine, expected["affine"]))
                } else {
                    (hash != expected["sha256"].as_str().unwrap()).then(|| "voxels differ".to_owned())
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

#[test]
fn series_become_the_volumes_that_they_were_cut_from() {
    let (agree, wrong) = differences(&folder());
    assert!(wrong.is_empty(), "{} different:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(agree, 20);
}

/// The same over series that make.py wrote from a real CT: `DICOM_CHECKS=folder`.
#[test]
fn series_of_a_real_ct() {
    let Some(folder) = std::env::var_os("DICOM_CHECKS") else {
        println!("skipped: DICOM_CHECKS names no folder");
        return;
    };
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

#[test]
fn faults_of_folders_and_files_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let error = dicom::read_folder(scratch.path(), None).unwrap_err();
    assert!(error.message().contains("found none in 0 files"), "{error}");
    assert!(dicom::read_folder(scratch.path().join("no"), None).unwrap_err().message().contains("cannot read the folder"));
    // One slice that is cut off ends the case; it is named.
    for name in ["explicit", "jpegls", "jpeg2000", "rle"] {
        let copy = scratch.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(folder().join(name)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let broken = copy.join("IM0000.dcm");
        let bytes = std::fs::read(&broken).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() - 30]).unwrap();
        let error = dicom::read_folder(&copy, None).unwrap_err();
        assert_eq!(error.get_file(), broken.to_str(), "{name}: {error}");
    }
}

/// JPEG-LS with loss differs by at most NEAR; the fixture's own decoder (CharLS) says what comes out.
#[test]
fn one_file_is_one_slice() {
    let volume = image::read(folder().join("explicit/IM0000.dcm"), None).unwrap();
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
