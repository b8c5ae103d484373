//! What a header says alone is what the whole file gives, in every format.

use segbundle_formats::digest::{self, FileDigests};
use segbundle_formats::reader;
use segbundle_image::{Volume, Voxels};
use std::path::{Path, PathBuf};

/// The images of the tests: files and folders of slices that `expected.json` lists, and NIfTI files.
fn images() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let mut out = vec![];
    for folder in ["images", "dicom", "dicom/compressed"] {
        let folder = data.join(folder);
        let expected: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        out.extend(expected.as_object().unwrap().keys().map(|name| folder.join(name)));
    }
    out
}

/// All that a volume has besides its voxels.
fn described(volume: &Volume) -> String {
    format!("{:?}", Volume { voxels: Voxels::empty(volume.voxels.dtype()), ..volume.clone() })
}

/// A header that both refuse is refused with the same text; some errors show from the voxels only.
fn compare(path: &Path, series: Option<&str>) {
    match (reader::read_header(path, series), reader::read(path, series)) {
        (Ok(header), Ok(whole)) => {
            assert!(header.is_header_only(), "{}", path.display());
            assert_eq!(described(&header), described(&whole), "{}", path.display());
        }
        (Err(header), Err(whole)) => assert_eq!(header.to_string(), whole.to_string()),
        (Err(header), Ok(_)) => panic!("{}: the header alone is refused: {header}", path.display()),
        (Ok(_), Err(whole)) => {
            let of_voxels = ["JPEG", "transfer syntax", "run-length", "compressed pixel data", "damaged"];
            assert!(of_voxels.iter().any(|part| whole.message().contains(part)), "{}: {whole}", path.display());
        }
    }
}

#[test]
fn headers_alone_give_the_shape_geometry_and_type_that_the_whole_file_gives() {
    let images = images();
    assert!(images.len() > 60, "{}", images.len());
    images.iter().for_each(|path| compare(path, None));
    let two = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/dicom/two");
    ["2", "7"].iter().for_each(|series| compare(&two, Some(series)));
}

/// At every length: a file that is truncated, or a data file that is missing, is refused in the same words.
#[test]
fn headers_alone_are_refused_in_the_words_of_the_whole_file() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let scratch = tempfile::tempdir().unwrap();
    for name in ["images/int16.mha", "images/ascii.nrrd", "images/big.nrrd", "dicom/explicit/IM0000.dcm"] {
        let bytes = std::fs::read(data.join(name)).unwrap();
        let path = scratch.path().join(Path::new(name).file_name().unwrap());
        for length in (1..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            match (reader::read_header(&path, None), reader::read(&path, None)) {
                (Err(header), Err(whole)) => assert_eq!(header.to_string(), whole.to_string()),
                // Numbers as text may be cut off anywhere.
                (Ok(_), _) if name.contains("ascii") => {}
                (header, _) => panic!("{name} of {length} bytes: {header:?}"),
            }
        }
    }
    let lonely = scratch.path().join("tail.mhd");
    std::fs::copy(data.join("images/tail.mhd"), &lonely).unwrap();
    compare(&lonely, None);
}

#[test]
fn all_files_of_an_image_are_hashed_while_it_is_read() {
    for path in images() {
        let digests = FileDigests::default();
        if reader::read_hashed(&path, None, Some(&digests)).is_err() {
            continue;
        }
        let files = reader::files(&path).unwrap();
        let hashed = files.iter().filter(|file| digests.get(file).is_some()).count();
        // A folder of slices may hold other DICOM files, and copies of slices.
        assert!(hashed == files.len() || path.is_dir() && hashed > 0, "{}: {hashed} of {files:?}", path.display());
        for file in files {
            assert!(digests.get(&file).is_none_or(|found| found == digest::of_file(&file).unwrap()));
        }
    }
}
