//! Networks and weights from files: safetensors and TorchScript; and that a DICOM folder segments as its NIfTI does.

use crate::common::{build, program};
use segbundle::checkpoint::{self, safetensors};
use segbundle::component::{Args, BuildContext, Dict, Key, Value};
use segbundle::contracts::{Mode, NetworkHandle};
use segbundle::error::Result;
use segbundle::formats::{nifti, reader};
use segbundle::image::Voxels;
use segbundle::torch::Device;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use tch::{CModule, Kind, Tensor};

fn random(size: &[i64], seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(size, (Kind::Float, tch::Device::Cpu))
}

/// Two convolutions, 1 → 6 → 3 channels.
fn formula(x: &Tensor) -> Tensor {
    with_weights(x, &weights())
}

fn weights() -> [Tensor; 2] {
    [random(&[6, 1, 3, 3, 3], 1), random(&[3, 6, 1, 1, 1], 2)]
}

fn with_weights(x: &Tensor, [first, last]: &[Tensor; 2]) -> Tensor {
    let x = x.conv3d(first, None::<Tensor>, [1, 1, 1], [1, 1, 1], [1, 1, 1], 1).relu();
    x.conv3d(last, None::<Tensor>, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
}

/// The formula as a TorchScript file.
fn traced(path: &Path) {
    traced_with(path, weights());
}

fn traced_with(path: &Path, weights: [Tensor; 2]) {
    let x = Tensor::zeros([1, 1, 8, 8, 8], (Kind::Float, tch::Device::Cpu));
    // Made outside: what is drawn while tracing becomes part of the program and is drawn anew in each pass.
    let module =
        CModule::create_by_tracing("Net", "forward", &[x], &mut |x| vec![with_weights(&x[0], &weights)]).unwrap();
    module.save(path).unwrap();
}

fn load(path: &Path) -> Result<Arc<NetworkHandle>> {
    let function = segbundle::registry::table().lookup("torch.jit.load").unwrap();
    let args = Args::positional([path.to_str().unwrap().into()]);
    function.call(args, &mut BuildContext::default()).map(|network| network.downcast().unwrap())
}

#[test]
fn a_torchscript_file_is_a_network() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("net.ts");
    traced(&path);
    assert!(std::fs::metadata(&path).unwrap().len() < 50_000);
    let network = load(&path).unwrap();
    let mut network = network.0.lock();
    assert_eq!((network.in_channels(), network.out_channels()), (1, 3));
    let x = random(&[2, 1, 10, 9, 12], 3);
    // Three passes: the executor may rewrite the program after the first ones.
    for _ in 0..3 {
        let worst = (network.forward(&x, Mode::EVAL).unwrap() - formula(&x)).abs().max().double_value(&[]);
        // The same operations; the executor may fuse them.
        assert!(worst < 1e-4, "{worst}");
    }
    network.to(Device::Cpu).unwrap();
    let half = network.forward(&x, Mode { train: false, autocast: Some(Kind::BFloat16) }).unwrap();
    let worst = (half.to_kind(Kind::Float) - formula(&x)).abs().max().double_value(&[]);
    // bfloat16 has 8 bits: values of about 30.
    assert!(worst > 0.0 && worst < 1.0, "autocast has an effect: {worst}");
    assert!(
        network.forward(&x, Mode { train: true, autocast: None }).unwrap_err().message().contains("cannot be trained")
    );
}

#[test]
fn files_that_are_no_torchscript_network_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let message = |path: &Path| load(path).err().unwrap().message().to_owned();
    assert!(message(&scratch.path().join("none.ts")).contains("cannot read the network"));
    let path = scratch.path().join("x.ts");
    std::fs::write(&path, b"no network").unwrap();
    assert!(message(&path).contains("expected a TorchScript file"));
    checkpoint::save(&path, &[("w".to_owned(), random(&[2], 1))]).unwrap();
    assert!(message(&path).contains("without constants.pkl"));
    traced(&path);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(load(&path).is_err());
    // A program that names an operation on files; it does not have to be a sound one.
    let file = std::fs::File::create(&path).unwrap();
    let mut zip = zip::ZipWriter::new(file);
    for (name, text) in [
        ("x/constants.pkl", ""),
        ("x/code/__torch__.py", "def forward(self, x):\n  return torch.from_file(\"/etc/passwd\", None, 9)\n"),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    assert!(message(&path).contains("`from_file`"));
}

fn small_network() -> Arc<NetworkHandle> {
    let list = |values: &[i64]| Value::list(values.iter().map(|value| Value::Int(*value)));
    let args = [
        ("init_filters", Value::Int(8)),
        ("out_channels", Value::Int(4)),
        ("blocks_down", list(&[1, 1])),
        ("blocks_up", list(&[1])),
    ];
    build("SegResNet", &args).unwrap().downcast().unwrap()
}

#[test]
fn safetensors_weights_equal_those_of_a_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    tch::manual_seed(5);
    let network = small_network();
    let state: Vec<(String, Tensor)> =
        network.0.lock().state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    // The name of the second says nothing.
    for name in ["model.safetensors", "model.bin"] {
        let path = scratch.path().join(name);
        Tensor::write_safetensors(&state, &path).unwrap();
        tch::manual_seed(6);
        let other = small_network();
        let x = random(&[1, 1, 16, 16, 16], 7);
        let forward = |network: &NetworkHandle| network.0.lock().forward(&x, Mode::EVAL).unwrap();
        assert!(forward(&network) != forward(&other));
        let dict = Dict::new([(Key::str("model"), Value::object((*other).clone()))]);
        let args = [("load_path", Value::from(path.to_str().unwrap())), ("load_dict", Value::Dict(dict))];
        let handler: Arc<segbundle::contracts::HandlerHandle> =
            build("CheckpointLoader", &args).unwrap().downcast().unwrap();
        handler.0.on(segbundle::contracts::Event::Started, &Default::default()).unwrap();
        assert_eq!(forward(&network), forward(&other));
    }
}

#[test]
fn weights_are_converted_between_formats_and_precisions() {
    let scratch = tempfile::tempdir().unwrap();
    let state = [("a.weight".to_owned(), random(&[4, 3], 1)), ("steps".to_owned(), Tensor::from(7_i64))];
    checkpoint::save(scratch.path().join("model.pt"), &state).unwrap();
    let convert = |words: &[&str]| program(scratch.path()).arg("convert-weights").args(words).output().unwrap();
    let check = |output: Output| assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(convert(&["model.pt", "half.safetensors", "--dtype", "float16"]));
    check(convert(&["half.safetensors", "back.pt", "--dtype", "float32"]));
    check(convert(&["model.pt", "same.safetensors"]));
    let half = safetensors::read(scratch.path().join("half.safetensors")).unwrap();
    assert_eq!(half[0].1, state[0].1.to_kind(Kind::Half));
    assert_eq!((half[1].1.kind(), half[1].1.int64_value(&[])), (Kind::Int64, 7));
    let back = checkpoint::load(scratch.path().join("back.pt")).unwrap().state_dict(None).unwrap();
    assert_eq!(back[0].1, half[0].1.to_kind(Kind::Float));
    assert_eq!(safetensors::read(scratch.path().join("same.safetensors")).unwrap()[0].1, state[0].1);
    checkpoint::save(scratch.path().join("large.pt"), &[("a".to_owned(), Tensor::from(1e6_f32))]).unwrap();
    for (words, text) in [
        (&["large.pt", "x.pt", "--dtype", "float16"][..], "tensor `a`: 1 of 1 values are beyond the range of float16"),
        (&["model.pt", "x.onnx"], "expected a .safetensors or .pt file"),
        (&["model.pt", "model.pt"], "it would be overwritten"),
        (&["half.safetensors", "x.pt", "--key", "model"], "has no dict `model`"),
    ] {
        let output = convert(words);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && log.contains(text), "{words:?}: {log}");
        assert!(!scratch.path().join("x.pt").exists());
    }
}

#[test]
fn damaged_safetensors_are_errors() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("w.safetensors");
    Tensor::write_safetensors(&[("a", random(&[3, 4], 1)), ("b", random(&[2], 2))], &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let names: Vec<String> = safetensors::from_bytes(&bytes).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
    let shapes = safetensors::read_shapes(&path).unwrap();
    assert_eq!(shapes, [("a".to_owned(), vec![3, 4]), ("b".to_owned(), vec![2])]);
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(safetensors::read_shapes(&path).unwrap_err().message().contains("damaged"));
    assert!(safetensors::from_bytes(&bytes[..bytes.len() - 1]).unwrap_err().message().contains("damaged"));
    // A header that claims 2^60 bytes.
    let mut huge = bytes.clone();
    huge[7] = 0x10;
    assert!(safetensors::from_bytes(&huge).is_err());
    std::fs::write(&path, &huge).unwrap();
    assert!(safetensors::read_shapes(&path).unwrap_err().message().contains("damaged"));
    assert!(safetensors::read(scratch.path().join("none.safetensors")).unwrap_err().message().contains("cannot read"));
}

const CONFIG: &str = r#"{
    "images": [],
    "network": "$torch.jit.load('net.ts').to(torch.device('cpu')).eval()",
    "preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 1.5], "mode": "bilinear"}]},
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "$torch.device('cpu')", "network": "@network",
        "val_data_loader": {"_target_": "DataLoader", "batch_size": 1, "dataset":
            {"_target_": "Dataset", "data": "$[{'image': i} for i in @images]", "transform": "@preprocessing"}},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 8], "overlap": 0.25},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": true},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": true},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "out", "output_dtype": "uint8"}]}},
    "run": ["$@evaluator.run()"]
}"#;

fn run(folder: &Path, images: &[PathBuf]) -> Output {
    run_with(folder, images, &[])
}

/// With options before the command.
fn run_with(folder: &Path, images: &[PathBuf], options: &[&str]) -> Output {
    std::fs::write(folder.join("c.json"), CONFIG).unwrap();
    let list: Vec<String> = images.iter().map(|path| format!("'{}'", path.display())).collect();
    let args = ["run", "--config_file", "c.json", "--meta_file", "None", "--images", &format!("[{}]", list.join(","))];
    program(folder).args(options).args(args).output().unwrap()
}

/// Its weights are constants of the program: no parameter of the network changes.
#[test]
fn a_result_of_another_torchscript_program_is_not_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let net = scratch.path().join("net.ts");
    let [first, last] = weights();
    traced_with(&net, [first.copy(), last.copy()]);
    let images = [Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images/int16.nrrd")];
    let again = || {
        let output = run_with(scratch.path(), &images, &["--skip-existing"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    };
    assert!(!again().contains("skipped, its result exists"));
    assert!(again().contains("skipped, its result exists"));
    traced_with(&net, [first, -last]);
    let log = again();
    assert!(log.contains("the network's weights have changed"), "{log}");
}

/// A copy of the DICOM series `name` in `folder`, its files without extension.
fn dicom_copy(name: &str, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom").join(name);
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_stem().unwrap())).unwrap();
    }
}

/// What is no DICOM there, results above all, is no part of the input.
#[test]
fn results_inside_a_dicom_folder_change_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    traced(&scratch.path().join("net.ts"));
    let case = scratch.path().join("out");
    dicom_copy("jpeg2000", &case);
    let run = || {
        let output = run_with(scratch.path(), std::slice::from_ref(&case), &["--skip-existing"]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    run();
    assert!(case.join("out/out_trans.nii.gz").is_file() && case.join("run.json").is_file());
    std::fs::write(case.join("notes.txt"), "seen").unwrap();
    std::fs::write(case.join(".hidden"), "seen").unwrap();
    let log = run();
    assert!(log.contains("skipped, its result exists"), "{log}");
    std::fs::remove_file(case.join("IM0000")).unwrap();
    let log = run();
    assert!(log.contains("the input has changed"), "{log}");
}

#[test]
fn a_file_that_may_have_been_a_slice_is_named_once() {
    let scratch = tempfile::tempdir().unwrap();
    traced(&scratch.path().join("net.ts"));
    let case = scratch.path().join("case");
    dicom_copy("jpeg2000", &case);
    for (name, bytes) in
        [("IM1000", &b""[..]), ("1.2.840.7", &[7; 500]), ("README", b"slices of a phantom\n"), ("a.json", b"{}")]
    {
        std::fs::write(case.join(name), bytes).unwrap();
    }
    let output = run(scratch.path(), &[case]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(log.matches("may have been slices: 1.2.840.7 (not DICOM), IM1000 (empty)").count(), 1, "{log}");
}

#[test]
fn a_dicom_folder_is_segmented_as_its_nifti() {
    let scratch = tempfile::tempdir().unwrap();
    traced(&scratch.path().join("net.ts"));
    let dicom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dicom/jpeg2000");
    let volume = reader::read(&dicom, None).unwrap();
    let converted = scratch.path().join("converted.nii.gz");
    let options = nifti::Options { space: volume.header.space, ..nifti::Options::default() };
    nifti::write(&converted, &volume.voxels, &volume.layout, &volume.affine, volume.voxels.dtype(), options).unwrap();
    let output = run(scratch.path(), &[dicom, converted]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let labels = |name: &str| nifti::read(scratch.path().join(format!("out/{name}/{name}_trans.nii.gz"))).unwrap();
    let (ours, nifti) = (labels("jpeg2000"), labels("converted"));
    assert_eq!(ours.layout.shape, [1, 33, 32, 5]);
    let (Voxels::U8(a), Voxels::U8(b)) = (&ours.voxels, &nifti.voxels) else { panic!("expected labels in u8") };
    assert_eq!(a.iter().zip(b.iter()).filter(|(a, b)| a != b).count(), 0, "voxels differ");
    assert!(a.iter().collect::<std::collections::BTreeSet<_>>().len() > 1);
    assert_eq!(ours.affine, nifti.affine);
    // MONAI's codes without units; on the grid of a NIfTI file, what it says itself.
    let words = |volume: &segbundle::image::Volume| {
        volume.header.space.map(|space| (space.qform_code, space.sform_code, space.units))
    };
    assert_eq!((words(&ours), words(&nifti)), (Some((1, 1, 0)), Some((1, 1, 2))));
}
