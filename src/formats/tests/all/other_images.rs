//! NRRD and MetaImage files against what SimpleITK reads from them (tests/data/images/make.py), and hostile ones.

use crate::damaged;
use proptest::prelude::*;
use segbundle_base::error::Result;
use segbundle_formats::{mha, nrrd, reader};
use segbundle_image::Volume;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images")
}

fn read(path: &Path) -> Result<Volume> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("nrrd" | "nhdr") => nrrd::read(path),
        _ => mha::read(path),
    }
}

#[test]
fn nrrd_and_metaimage_are_read_as_itk_reads_them() {
    let expected: Value = serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap();
    let files = expected.as_object().unwrap();
    assert_eq!(files.len(), 24);
    for (name, expected) in files {
        let volume = read(&folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let shape: Vec<usize> =
            expected["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        assert_eq!(volume.layout.shape.to_vec(), shape, "{name}");
        assert_eq!(volume.voxels.dtype().name(), expected["dtype"].as_str().unwrap(), "{name}");
        let affine: Vec<f64> = expected["affine"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|v| v.as_f64().unwrap())
            .collect();
        for (ours, itk) in volume.affine.0.iter().flatten().zip(&affine) {
            // ITK makes directions from the vectors and multiplies them out again: f64's rounding, and digits in text.
            assert!((ours - itk).abs() < 1e-9, "{name}: {:?}, ITK {affine:?}", volume.affine);
        }
        let values: Vec<f32> =
            expected["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!(volume.to_f32_vec().unwrap(), values, "{name}");
        assert_eq!(volume.header.channels, (shape[0] > 1).then_some(shape[0]), "{name}");
    }
}

#[test]
fn the_files_of_an_image_are_those_that_its_header_names() {
    let names = |name: &str| -> Vec<String> {
        let files = reader::files(folder().join(name)).unwrap();
        files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    for header in ["listed.mhd", "numbered.mhd", "listed.nhdr", "numbered.nhdr"] {
        let mut expected = vec![header.to_owned()];
        expected.extend((0..5).map(|slice| format!("slice0{slice}.raw")));
        assert_eq!(names(header), expected);
    }
    assert_eq!(names("int32.nhdr"), ["int32.nhdr", "int32.raw"]);
    assert_eq!(names("packed.mhd"), ["packed.mhd", "packed.zraw"]);
    assert_eq!(
        (names("int16.mha"), names("int16.nrrd")),
        (vec!["int16.mha".to_owned()], vec!["int16.nrrd".to_owned()])
    );
    // What the reader will refuse is no file of the image.
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.mhd");
    let header = std::fs::read_to_string(folder().join("tail.mhd")).unwrap();
    for text in [header.replace("tail.raw", "/dev/zero"), "no header".to_owned()] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(reader::files(&path).unwrap(), std::slice::from_ref(&path));
    }
}

fn message(bytes: &[u8], read: fn(&[u8], &Path) -> Result<Volume>) -> String {
    read(bytes, Path::new("memory")).unwrap_err().message().to_owned()
}

#[test]
fn wrong_files_are_named_for_what_is_wrong() {
    let good = String::from_utf8(std::fs::read(folder().join("ascii.nrrd")).unwrap()).unwrap();
    let nrrd_with = |from: &str, to: &str| {
        assert!(good.contains(from));
        message(good.replace(from, to).as_bytes(), nrrd::read_bytes)
    };
    assert!(nrrd_with("NRRD0005", "NRDD").contains("expected a NRRD file"));
    assert!(nrrd_with("sizes: 3 4 5", "sizes: 3 4 500000000000").contains("truncated"));
    assert!(nrrd_with("sizes: 3 4 5", "sizes: 3 4 18446744073709551615").contains("memory can hold"));
    assert!(nrrd_with("sizes: 3 4 5", "sizes: 3 0 5").contains("sizes of at least 1"));
    assert!(nrrd_with("type: short", "type: block").contains("numeric NRRD type"));
    assert!(nrrd_with("encoding: ascii", "encoding: bzip2").contains("bzip2"));
    assert!(nrrd_with("space: left-posterior-superior", "space: up").contains("space such as"));
    assert!(nrrd_with("encoding: ascii", "encoding: ascii\ndata file: x.raw").contains("same file"));
    let origin = "space origin: (-12.5,30.25,100.125)";
    assert!(nrrd_with(origin, "space origin: (nan,0,0)").contains("finite"));
    let good = String::from_utf8(std::fs::read(folder().join("ascii.mha")).unwrap()).unwrap();
    let mha_with = |from: &str, to: &str| {
        assert!(good.contains(from));
        message(good.replace(from, to).as_bytes(), mha::read_bytes)
    };
    assert!(mha_with("DimSize = 3 4 5", "DimSize = 3 4 500000000000").contains("truncated"));
    assert!(mha_with("NDims = 3", "NDims = 99").contains("NDims from 1 to 10"));
    assert!(mha_with("MET_SHORT", "MET_STRING").contains("ElementType"));
    assert!(mha_with("ElementSpacing = 0.7", "ElementSpacing = 0").contains("singular"));
    assert!(mha_with("LOCAL", "/dev/zero").contains("same file"));
    assert!(mha_with("ElementDataFile = LOCAL", "").contains("name = value"));
}

#[test]
fn truncated_and_damaged_data_are_errors() {
    for name in ["int16.mha", "packed.mha", "int16.nrrd", "packed.nrrd", "big.nrrd"] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let read = if name.ends_with("nrrd") { nrrd::read_bytes } else { mha::read_bytes };
        assert!(read(&bytes, Path::new(name)).is_ok());
        for cut in [1, 9, 40] {
            assert!(read(&bytes[..bytes.len() - cut], Path::new(name)).is_err(), "{name} without its last {cut} bytes");
        }
    }
    // The checksum of the packed data.
    let mut bytes = std::fs::read(folder().join("packed.nrrd")).unwrap();
    let end = bytes.len();
    bytes[end - 6] ^= 1;
    assert!(message(&bytes, nrrd::read_bytes).contains("damaged"));
    // A data file that is no file.
    let scratch = tempfile::tempdir().unwrap();
    let header = std::fs::read_to_string(folder().join("tail.mhd")).unwrap();
    let path = scratch.path().join("x.mhd");
    std::fs::write(&path, header.replace("tail.raw", "/dev/zero")).unwrap();
    assert!(mha::read(&path).unwrap_err().message().contains("expected a regular file"));
    std::fs::write(&path, &header).unwrap();
    let error = mha::read(&path).unwrap_err();
    assert!(error.message().contains("No such file") && error.get_file().unwrap().ends_with("tail.raw"), "{error}");
}

proptest! {
    /// Any change of a good file is an error or an image whose layout stays inside its voxels.
    #[test]
    fn changed_files_do_no_harm(file in prop::sample::select(vec!["ascii.nrrd", "packed.nrrd", "pynrrd.nrrd", "components.mha", "ascii.mha", "packed.mha"]),
                                changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let bytes = damaged(std::fs::read(folder().join(file)).unwrap(), changes, cut, whole);
        let read = if file.ends_with("nrrd") { nrrd::read_bytes } else { mha::read_bytes };
        if let Ok(volume) = read(&bytes, Path::new(file)) {
            prop_assert_eq!(volume.voxels.len(), volume.layout.shape.iter().product::<usize>());
            prop_assert!(volume.to_f32_vec().is_ok());
        }
    }
}
