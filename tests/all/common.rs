//! Shared fixtures: golden data, components built by name, images from tensors, a small bundle and runs of the program.

use segbundle::checkpoint;
use segbundle::component::{Args, BuildContext, Value};
use segbundle::error::Result;
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Volume, Voxels};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tch::Tensor;
use tempfile::TempDir;

/// The tensors of `tests/data/NAME`, a dict saved by torch.
pub fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    checkpoint::load(&path).unwrap().state_dict(None).unwrap().into_iter().collect()
}

/// A folder outside the project, which the environment variable `name` gives. Tests that need one are ignored unless they
/// are asked for (`cargo test -- --ignored`), and then fail without it.
pub fn folder_of(name: &str) -> PathBuf {
    let folder = std::env::var_os(name).unwrap_or_else(|| panic!("set {name} to the folder that this test reads"));
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir(), "{name} is {}, which is no folder", folder.display());
    folder
}

/// A component as a config builds it.
pub fn build(name: &str, args: &[(&str, Value)]) -> Result<Value> {
    let component = segbundle::registry::table().component(name).unwrap_or_else(|| panic!("no component {name}"));
    (component.build)(
        Args::named(args.iter().map(|(key, value)| ((*key).into(), value.clone()))),
        &mut BuildContext::default(),
    )
}

/// x [1,C,X,Y,Z] as an image of 1 mm voxels.
pub fn volume_of(x: &Tensor) -> Volume {
    let size: Vec<usize> = x.size().into_iter().map(|n| n as usize).collect();
    let values = Vec::<f32>::try_from(x.reshape([-1])).unwrap();
    let layout = Layout::contiguous([size[1], size[2], size[3], size[4]]);
    Volume::new("x.nii.gz", Voxels::F32(values.into()), layout, Affine::IDENTITY)
}

/// The program, to be run in `folder`.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segbundle"));
    command.current_dir(folder);
    command
}

/// A bundle with a small, seeded network and `cases` images of 20×22×18 voxels of 2 mm.
pub struct Bundle(pub TempDir);

impl Bundle {
    pub fn new(cases: usize) -> Bundle {
        let bundle = Bundle(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(bundle.path("configs")).unwrap();
        std::fs::write(bundle.path("configs/inference.json"), CONFIG).unwrap();
        for case in 0..cases {
            bundle.image(&format!("images/s{case:04}.nii.gz"), case as i16);
        }
        bundle
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub fn image(&self, name: &str, seed: i16) {
        let voxels: Vec<i16> =
            (0..20 * 22 * 18).map(|i: i32| ((i * 37 + i32::from(seed) * 1001) % 1500 - 900) as i16).collect();
        let affine =
            Affine([[-2.0, 0.0, 0.0, 20.0], [0.0, 2.0, 0.0, -10.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]]);
        let layout = Layout::contiguous([1, 20, 22, 18]);
        nifti::write(
            self.path(name),
            &Voxels::I16(voxels.into()),
            &layout,
            &affine,
            DType::I16,
            nifti::Options::default(),
        )
        .unwrap();
    }
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.0.path());
        command.args(args);
        command
    }
    /// The record of the last run into `out`.
    pub fn record(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.path("out/run.json")).unwrap()).unwrap()
    }
    pub fn infer(&self, more: &[&str]) -> Output {
        self.run(&[&["run", "--config_file", "configs/inference.json", "--meta_file", "None"], more].concat())
    }
}

const CONFIG: &str = include_str!("../cmd/bundle.in/configs/inference.json");

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of all files below `folder`, records aside, in order.
pub fn results(folder: &Path) -> Vec<String> {
    let mut out = vec![];
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path)
            } else {
                out.push(path.file_name().unwrap().to_string_lossy().into_owned())
            }
        }
    }
    out.retain(|name| !name.ends_with(".json"));
    out.sort();
    out
}
