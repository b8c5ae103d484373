//! `segbundle merge-labels`: datasets of masks become label maps.

use crate::common::{program, text};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

const SHAPE: [usize; 4] = [1, 6, 5, 4];
const VOXELS: usize = 6 * 5 * 4;
const NAMES: [&str; 3] = ["spleen", "liver", "aorta"];

/// A dataset with masks of three structures per case, which overlap in one voxel.
struct Data(TempDir);

impl Data {
    fn new(cases: &[&str]) -> Data {
        let data = Data(tempfile::tempdir().unwrap());
        let meta = r#"{"network_data_format": {"outputs": {"pred": {"channel_def":
            {"0": "background", "1": "spleen", "2": "liver", "3": "aorta"}}}}}"#;
        std::fs::write(data.path("meta.json"), meta).unwrap();
        for case in cases {
            data.write(&format!("{case}/ct.nii.gz"), 0..0, 2.0);
            for (at, name) in NAMES.iter().enumerate() {
                data.write(&format!("{case}/segmentations/{name}.nii.gz"), 20 * at..20 * at + 21, 2.0);
            }
        }
        data
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn mask(&self, case: &str, structure: &str) -> PathBuf {
        self.path(&format!("set/{case}/segmentations/{structure}.nii.gz"))
    }
    /// Ones in `range`, on a grid with this voxel size.
    fn write(&self, name: &str, range: std::ops::Range<usize>, mm: f64) {
        let voxels: Vec<u8> = (0..VOXELS).map(|at| u8::from(range.contains(&at))).collect();
        let affine = Affine([[-mm, 0.0, 0.0, 9.0], [0.0, mm, 0.0, 1.0], [0.0, 0.0, mm, 5.0], [0.0, 0.0, 0.0, 1.0]]);
        let (layout, options) = (Layout::fortran(SHAPE), nifti::Options::default());
        nifti::write(self.path("set").join(name), &Voxels::U8(voxels.into()), &layout, &affine, DType::U8, options)
            .unwrap();
    }
    fn merge(&self, more: &[&str]) -> Output {
        let output = if more.contains(&"--output_dir") { &[][..] } else { &["--output_dir", "out"] };
        let args = ["merge-labels", "set", "--meta_file", "meta.json"];
        program(self.0.path()).args(args).args(output).args(more).output().unwrap()
    }
    fn labels(&self, case: &str) -> Vec<f32> {
        let volume = nifti::read(self.path(&format!("out/labelsTr/{case}.nii.gz"))).unwrap();
        assert_eq!(volume.grid(), nifti::read(self.path(&format!("set/{case}/ct.nii.gz"))).unwrap().grid());
        // In the order of the file.
        let values = volume.to_f32_vec().unwrap();
        let [_, x, y, z] = SHAPE;
        (0..VOXELS).map(|at| values[at % x * y * z + at / x % y * z + at / x / y]).collect()
    }
}

/// Voxels 20 and 40 also belong to the structure before.
fn expected() -> Vec<f32> {
    (0..VOXELS).map(|at| if at <= 60 { (at / 20 + 1).min(3) as f32 } else { 0.0 }).collect()
}

fn log(output: &Output) -> String {
    text(&output.stderr)
}

#[test]
fn masks_become_a_label_map_in_the_order_of_the_classes() {
    let data = Data::new(&["s0001", "s0002"]);
    std::fs::create_dir(data.path("set/notes")).unwrap();
    let output = data.merge(&[]);
    assert!(output.status.success(), "{}", log(&output));
    for case in ["s0001", "s0002"] {
        assert_eq!(data.labels(case), expected());
        assert!(nifti::read(data.path(&format!("out/imagesTr/{case}.nii.gz"))).is_ok());
    }
    // Voxels 20 and 40 are in two masks; the higher number counts.
    let shown = log(&output);
    assert!(shown.contains("3 masks, 2 voxels changed to a later structure (most: 1 from liver to aorta)"), "{shown}");
    let names = segbundle::tools::label_names::read(&data.path("out/labelsTr/s0001.nii.gz")).unwrap().unwrap();
    assert_eq!(names.iter().map(|structure| &*structure.name).collect::<Vec<_>>(), NAMES);
}

#[test]
fn merging_again_keeps_what_is_unchanged() {
    let data = Data::new(&["s0001", "s0002"]);
    assert!(data.merge(&[]).status.success());
    let path = data.path("out/labelsTr/s0002.nii.gz");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    // A mask of the first case has changed.
    data.write("s0001/segmentations/liver.nii.gz", 0..0, 2.0);
    let output = data.merge(&[]);
    let shown = log(&output);
    assert!(shown.contains("s0001: 3 masks, 1 empty") && shown.contains("s0002: unchanged, kept"), "{shown}");
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert!(!data.labels("s0001").contains(&2.0));
}

#[test]
fn structures_without_a_mask_are_an_error_unless_they_are_allowed() {
    let data = Data::new(&["s0001", "s0002"]);
    std::fs::remove_file(data.mask("s0001", "aorta")).unwrap();
    std::fs::rename(data.mask("s0002", "liver"), data.mask("s0002", "skull")).unwrap();
    let output = data.merge(&[]);
    assert_eq!(output.status.code(), Some(2));
    let shown = log(&output);
    assert!(shown.contains("without a mask: aorta (s0001), liver (s0002)"), "{shown}");
    assert!(shown.contains("not used: skull (s0002)") && shown.contains("--allow-missing"), "{shown}");
    assert!(!data.path("out").exists());
    let output = data.merge(&["--allow-missing"]);
    assert!(output.status.success(), "{}", log(&output));
    assert!(!data.labels("s0001").contains(&3.0) && !data.labels("s0002").contains(&2.0));
}

#[test]
fn a_case_that_cannot_be_merged_does_not_stop_the_others() {
    let data = Data::new(&["s0001", "s0002", "s0003", "s0004"]);
    data.write("s0001/segmentations/liver.nii.gz", 0..9, 3.0);
    std::fs::write(data.mask("s0002", "aorta"), b"no image").unwrap();
    std::fs::remove_file(data.path("set/s0003/ct.nii.gz")).unwrap();
    let output = data.merge(&["--split"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = log(&output);
    for part in [
        "s0001/segmentations/liver.nii.gz",
        "the grid of the image",
        "resample the mask onto set/s0001/ct.nii.gz",
        "s0002/segmentations/aorta.nii.gz",
        "s0003: expected ct.nii.gz",
        "3 of 4 cases could not be merged",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(data.labels("s0004"), expected());
    assert!(!data.path("out/labelsTr/s0001.nii.gz").exists() && !data.path("out/imagesTr/s0001.nii.gz").exists());
    let split: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.path("out/dataset.json")).unwrap()).unwrap();
    assert_eq!(
        split["training"],
        serde_json::json!([{"image": "imagesTr/s0004.nii.gz", "label": "labelsTr/s0004.nii.gz"}])
    );
}

#[test]
fn a_mask_copied_with_its_old_date_is_merged_again() {
    let data = Data::new(&["s0001"]);
    assert!(data.merge(&[]).status.success());
    let old = std::fs::metadata(data.mask("s0001", "spleen")).unwrap().modified().unwrap();
    std::fs::copy(data.mask("s0001", "spleen"), data.mask("s0001", "aorta")).unwrap();
    std::fs::File::open(data.mask("s0001", "aorta")).unwrap().set_modified(old).unwrap();
    assert!(log(&data.merge(&[])).contains("s0001: 3 masks"));
    assert_eq!(data.labels("s0001")[5], 3.0);
}

#[test]
fn a_case_that_has_become_faulty_loses_its_earlier_result() {
    let data = Data::new(&["s0001", "s0002", "s0003", "s0004"]);
    assert!(data.merge(&[]).status.success());
    data.write("s0001/segmentations/liver.nii.gz", 0..9, 3.0);
    std::fs::remove_file(data.path("set/s0002/ct.nii.gz")).unwrap();
    for name in NAMES {
        std::fs::remove_file(data.mask("s0003", name)).unwrap();
    }
    let output = data.merge(&["--allow-missing"]);
    let shown = log(&output);
    assert!(shown.contains("3 of 4 cases") && shown.contains("expected masks of structures, found none"), "{shown}");
    let left = |folder: &str| {
        let names = std::fs::read_dir(data.path("out").join(folder)).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!([left("labelsTr"), left("imagesTr")], [["s0004.nii.gz"], ["s0004.nii.gz"]]);
}

#[test]
fn files_of_others_are_not_replaced() {
    let data = Data::new(&["s0001"]);
    for name in ["imagesTr/s0001.nii.gz", "labelsTr/s0001.nii.gz"] {
        let path = data.path("out").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(data.mask("s0001", "liver"), &path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let output = data.merge(&[]);
        assert!(
            output.status.code() == Some(1) && log(&output).contains("a file of this name exists"),
            "{}",
            log(&output)
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_dir_all(data.path("out")).unwrap();
    }
}

#[test]
fn images_are_copied_on_request() {
    let data = Data::new(&["s0001"]);
    assert!(data.merge(&["--copy-images"]).status.success());
    let copy = data.path("out/imagesTr/s0001.nii.gz");
    assert!(copy.symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(data.path("set/s0001/ct.nii.gz")).unwrap());
    assert!(log(&data.merge(&["--copy-images"])).contains("unchanged, kept"));
}

#[test]
fn the_split_of_the_data_set_is_used() {
    let data = Data::new(&["s0001", "s0002", "s0003"]);
    let table = "\u{feff}image_id;age;split\ns0001;60;train\ns0002;50;test\ns0003;40;val\n";
    std::fs::write(data.path("set/meta.csv"), table).unwrap();
    let split = |more: &[&str]| -> Vec<String> {
        let output = data.merge(&[&["--split"], more].concat());
        assert!(output.status.success(), "{}", log(&output));
        let split: serde_json::Value =
            serde_json::from_slice(&std::fs::read(data.path("out/dataset.json")).unwrap()).unwrap();
        let names = |part: &str| {
            let pairs = split[part].as_array().unwrap().iter();
            pairs
                .map(|pair| {
                    Path::new(pair["image"].as_str().unwrap()).file_name().unwrap().to_string_lossy()[..5].to_owned()
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        ["training", "validation", "test"].map(names).into()
    };
    assert_eq!(split(&[]), ["s0001", "s0003", "s0002"]);
    let drawn = split(&["--validation", "0.4", "--seed", "1"]);
    assert_eq!(drawn, split(&["--validation", "0.4", "--seed", "1"]));
    let counts: Vec<usize> = drawn.iter().map(|names| names.split_whitespace().count()).collect();
    assert_eq!(counts, [2, 1, 0]);
    // One case is left for training.
    assert_eq!(split(&["--validation", "0.99"])[0].split_whitespace().count(), 1);
    std::fs::write(data.path("set/meta.csv"), "image_id;split\ns0001;train\n").unwrap();
    let output = data.merge(&["--split"]);
    assert!(!output.status.success() && log(&output).contains("expected a row for s0002"), "{}", log(&output));
}

#[test]
fn an_output_folder_in_the_dataset_is_refused() {
    let data = Data::new(&["s0001"]);
    for folder in ["set", "set/merged", "set/s0001/../../set"] {
        let output = data.merge(&["--output_dir", folder]);
        let log = log(&output);
        assert!(output.status.code() == Some(2) && log.contains("outside of the dataset set"), "{folder}: {log}");
    }
    assert!(!data.path("set/labelsTr").exists() && !data.path("set/merged").exists());
    // A folder whose name begins like that of the dataset.
    assert!(data.merge(&["--output_dir", "set-merged"]).status.success());
}
