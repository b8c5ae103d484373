//! Whatever is wrong with one case is one clear error that names its file; the other cases go on.

use crate::common::{Bundle, results, text};
use crate::network::build;
use flate2::Compression;
use flate2::write::GzEncoder;
use segbundle::checkpoint;
use segbundle::component::Value;
use segbundle::contracts::Network;
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

const SHAPE: [usize; 4] = [1, 20, 22, 18];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(vec![], Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A good file of `SHAPE`, unpacked.
fn good() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.nii");
    image(&path, SHAPE, |i| ((i * 37) % 1500) as f32 - 900.0);
    std::fs::read(path).unwrap()
}

fn image(path: &Path, shape: [usize; 4], value: impl Fn(usize) -> f32) {
    let voxels: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    let affine = Affine([[-2.0, 0.0, 0.0, 20.0], [0.0, 2.0, 0.0, -10.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]]);
    nifti::write(
        path,
        &Voxels::F32(voxels.into()),
        &Layout::contiguous(shape),
        &affine,
        DType::F32,
        nifti::Options::default(),
    )
    .unwrap();
}

/// `good` with other bytes at some places.
fn changed(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = good();
    for (at, patch) in patches {
        bytes[*at..*at + patch.len()].copy_from_slice(patch);
    }
    bytes
}

#[test]
fn each_faulty_case_is_one_error_that_names_its_file_and_the_others_go_on() {
    let bundle = Bundle::new(2);
    let put = |name: &str, bytes: &[u8]| std::fs::write(bundle.path(&format!("images/{name}")), bytes).unwrap();
    let nan = f32::NAN.to_le_bytes();
    let packed = gzip(&good());
    let mut wrong_sum = packed.clone();
    let end = wrong_sum.len();
    wrong_sum[end - 5] ^= 1;
    // File, its content (none: something special, below), what the message says.
    let table: Vec<(&str, Option<Vec<u8>>, &str)> = vec![
        ("missing.nii.gz", None, "No such file"),
        ("folder.nii.gz", None, "expected DICOM slices in the folder"),
        ("nan_voxels.nii.gz", None, "voxels of the preprocessed image are NaN"),
        ("two_channels.nii.gz", None, "the image has 2 channels, but the network takes 1"),
        ("empty.nii.gz", Some(vec![]), "found an empty one"),
        ("text.nii.gz", Some(b"<html>not found</html>".repeat(30)), "expected a NIfTI file"),
        ("short.nii", Some(good()[..100].to_vec()), "expected a NIfTI header of 348 bytes, found 100"),
        ("cut.nii.gz", Some(packed[..packed.len() / 2].to_vec()), "damaged gzip data"),
        ("cut_inside.nii.gz", Some(gzip(&good()[..2000])), "the file is truncated"),
        ("cut_plain.nii", Some(good()[..2000].to_vec()), "the file is truncated"),
        ("checksum.nii.gz", Some(wrong_sum), "damaged gzip data"),
        ("zero_size.nii.gz", Some(gzip(&changed(&[(44, &[0, 0])]))), "at least one voxel"),
        ("no_dims.nii.gz", Some(gzip(&changed(&[(40, &[0, 0])]))), "1 to 7 dimensions"),
        ("huge.nii.gz", Some(gzip(&changed(&[(42, &[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f])]))), "the file is truncated"),
        ("offset.nii", Some(changed(&[(108, &1e9_f32.to_le_bytes())])), "truncated"),
        ("nan_affine.nii.gz", Some(gzip(&changed(&[(280, &nan), (296, &nan)]))), "affine"),
        ("complex.nii.gz", Some(gzip(&changed(&[(70, &[32, 0, 64, 0])]))), "complex numbers"),
        ("rgb.nii.gz", Some(gzip(&changed(&[(70, &[128, 0, 24, 0])]))), "RGB colors"),
        ("nan_slope.nii.gz", Some(gzip(&changed(&[(112, &2.0_f32.to_le_bytes()), (116, &nan)]))), "scl_inter"),
    ];
    for (name, content, _) in &table {
        if let Some(content) = content {
            put(name, content);
        }
    }
    std::os::unix::fs::symlink("nowhere", bundle.path("images/missing.nii.gz")).unwrap();
    std::fs::create_dir(bundle.path("images/folder.nii.gz")).unwrap();
    image(&bundle.path("images/nan_voxels.nii.gz"), SHAPE, |i| if i == 4000 { f32::NAN } else { i as f32 });
    image(&bundle.path("images/two_channels.nii.gz"), [2, 20, 22, 18], |i| i as f32);
    // Odd, but a case like any other.
    image(&bundle.path("images/one_slice.nii.gz"), [1, 20, 22, 1], |i| i as f32);
    image(&bundle.path("images/one_voxel.nii.gz"), [1, 1, 1, 1], |_| 7.0);
    image(&bundle.path("images/constant.nii.gz"), SHAPE, |_| -1000.0);

    let output = bundle.infer(&["--datalist", "$sorted(glob.glob('images/*.nii*'))"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("{} of {} cases failed", table.len(), table.len() + 5)), "{log}");
    let record = bundle.record();
    for (name, _, message) in &table {
        let case =
            record["cases"].as_array().unwrap().iter().find(|case| case["input"] == format!("images/{name}")).unwrap();
        let error = &case["error"];
        assert_eq!(
            (case["status"].as_str(), error["file"].as_str()),
            (Some("failed"), Some(&*format!("images/{name}"))),
            "{case}"
        );
        assert!(error["message"].as_str().unwrap().contains(message), "{name}: expected \"{message}\" in {error}");
        assert_eq!(log.matches(&format!("--> images/{name}")).count(), 1, "{name} is to be reported once: {log}");
    }
    let good = ["constant", "one_slice", "one_voxel", "s0000", "s0001"];
    assert_eq!(results(&bundle.path("out")), good.map(|name| format!("{name}_trans.nii.gz")));
}

/// The big case: as floats and as the network's input, 4.7 GB.
#[test]
fn a_case_that_cannot_fit_the_memory_is_one_error_before_it_is_read_and_the_others_go_on() {
    let bundle = Bundle::new(2);
    let path = bundle.path("images/big.nii");
    let one = Voxels::U8(vec![0].into());
    let affine = Affine([[3.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]]);
    nifti::write(&path, &one, &Layout::contiguous([1; 4]), &affine, DType::U8, nifti::Options::default()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[42..48].copy_from_slice(&[700_i16, 700, 1200].map(i16::to_le_bytes).concat());
    std::fs::write(&path, bytes).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(352 + 700 * 700 * 1200).unwrap();

    let infer = [
        "run",
        "--config_file",
        "configs/inference.json",
        "--meta_file",
        "None",
        "--datalist",
        "$sorted(glob.glob('images/*'))",
    ];
    let output = bundle.run(&[&["--max-memory", "1500M"], &infer[..]].concat());
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert_eq!(results(&bundle.path("out")), ["s0000_trans.nii.gz", "s0001_trans.nii.gz"]);
    let record = bundle.record();
    let error = &record["cases"][0]["error"];
    assert!(
        error["message"].as_str().unwrap().starts_with("needs at least 4.4 GiB of memory for 700×700×1200 voxels"),
        "{error}"
    );
    assert!(
        error["file"] == "images/big.nii"
            && log.contains("hint: set --max-memory to at least ")
            && log.contains("M, or use a larger pixdim"),
        "{log}"
    );
    assert!(record["peak_memory_bytes"].as_u64().unwrap() < 1_000_000_000, "{record}");
}

#[test]
fn a_pipe_or_a_device_is_one_error_and_nothing_waits_for_it() {
    let bundle = Bundle::new(1);
    for name in ["a.nii.gz", "b.mha", "pipe"] {
        assert!(Command::new("mkfifo").arg(bundle.path(&format!("images/{name}"))).status().unwrap().success());
    }
    let devices = [("c.nii.gz", "/dev/zero"), ("d.nrrd", "/dev/zero")];
    devices
        .iter()
        .for_each(|(name, device)| std::os::unix::fs::symlink(device, bundle.path(&format!("images/{name}"))).unwrap());
    std::fs::write(
        bundle.path("images/beside.mhd"),
        "NDims = 3\nDimSize = 9 9 9\nElementType = MET_CHAR\nElementDataFile = pipe\n",
    )
    .unwrap();
    let output = bundle.infer(&["--datalist", "$sorted(glob.glob('images/*'))"]);
    let log = text(&output.stderr);
    assert!(log.contains("6 of 7 cases failed"), "{log}");
    assert_eq!(log.matches("expected a regular file, found a pipe").count(), 4, "{log}");
    assert_eq!(log.matches("expected a regular file, found a device").count(), 2, "{log}");
}

#[test]
fn an_input_that_disappears_while_the_list_runs_is_one_error() {
    let bundle = Bundle::new(1);
    for case in 1..40 {
        std::fs::copy(bundle.path("images/s0000.nii.gz"), bundle.path(&format!("images/s{case:04}.nii.gz"))).unwrap();
    }
    let mut child = bundle
        .command(&["run", "--config_file", "configs/inference.json", "--meta_file", "None"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !bundle.path("out/run.json").exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::remove_file(bundle.path("images/s0039.nii.gz")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let record = bundle.record();
    assert_eq!((&record["counts"]["done"], &record["counts"]["failed"]), (&39.into(), &1.into()));
    let last = &record["cases"][39]["error"];
    assert!(
        last["message"].as_str().unwrap().contains("No such file") && last["file"] == "images/s0039.nii.gz",
        "{last}"
    );
}

#[test]
fn a_result_that_would_replace_an_input_is_refused_before_anything_runs() {
    let bundle = Bundle::new(2);
    let path = bundle.path("configs/inference.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let beside = config
        .replace(r#""output_dtype": "$numpy.uint8","#, r#""output_dtype": "$numpy.uint8", "separate_folder": false,"#);
    std::fs::write(
        &path,
        beside.replace(r#""keys": "pred", "output_dir""#, r#""keys": "pred", "output_postfix": "", "output_dir""#),
    )
    .unwrap();
    let before = std::fs::read(bundle.path("images/s0000.nii.gz")).unwrap();
    // By its own name, by a link to the folder, and where another case reads.
    std::os::unix::fs::symlink("images", bundle.path("link")).unwrap();
    bundle.image("other/s0001.nii.gz", 9);
    for (folder, list) in [
        ("images", "['images/s0000.nii.gz']"),
        ("link", "['images/s0000.nii.gz']"),
        ("images", "['other/s0001.nii.gz', 'images/s0001.nii.gz']"),
    ] {
        let output = bundle.infer(&["--output_dir", folder, "--datalist", list]);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{folder}: {log}");
        assert!(log.contains("would be written over the input images/s000"), "{folder}: {log}");
    }
    assert_eq!(std::fs::read(bundle.path("images/s0000.nii.gz")).unwrap(), before);
    assert!(bundle.infer(&["--output_dir", "elsewhere"]).status.success());
}

#[test]
fn tools_do_not_write_over_what_they_read() {
    let bundle = Bundle::new(1);
    bundle.image("masks/liver.nii.gz", 1);
    let meta = r#"{"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "liver"}}}}}"#;
    std::fs::write(bundle.path("meta.json"), meta).unwrap();
    let (labels, image) = ("masks/liver.nii.gz", "images/s0000.nii.gz");
    for words in [
        &["statistics", labels, "--output", "images/../masks/liver.nii.gz"][..],
        &["statistics", labels, "--image", image, "--output", image],
        &["preview", labels, "--image", image, "--output", labels],
        &["preview", labels, "--image", image, "--output", image],
        &["split-labels", labels, "--meta_file", "meta.json", "--output_dir", "masks"],
    ] {
        let output = bundle.run(words);
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(2) && log.contains("it would be overwritten"), "{words:?}: {log}");
        assert!(nifti::read(bundle.path(labels)).is_ok() && nifti::read(bundle.path(image)).is_ok(), "{words:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_the_network_runs() {
    let bundle = Bundle::new(2);
    std::fs::write(bundle.path("out"), "a file").unwrap();
    let output = bundle.infer(&[]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("no result can be written") && log.contains("out/s0000/s0000_trans.nii.gz"), "{log}");
    assert!(log.contains("out is not a folder") && !log.contains("[1/2]"), "{log}");

    // One case's place only: that case fails, the other is made.
    std::fs::remove_file(bundle.path("out")).unwrap();
    std::fs::create_dir(bundle.path("out")).unwrap();
    std::fs::write(bundle.path("out/s0001"), "a file").unwrap();
    let output = bundle.infer(&[]);
    assert_eq!(output.status.code(), Some(1));
    let record = bundle.record();
    assert_eq!(
        (record["cases"][0]["status"].as_str(), record["cases"][1]["status"].as_str()),
        (Some("done"), Some("failed"))
    );
    assert!(record["cases"][1]["error"]["file"].as_str().unwrap().contains("out/s0001/s0001_trans"), "{record}");
}

#[test]
fn names_too_long_for_a_result_or_its_record_are_found_before_the_network_runs() {
    let bundle = Bundle::new(1);
    // `_trans` and `.json` come to the name.
    let (result, record_of) = (format!("{}.nii.gz", "r".repeat(247)), format!("{}.nii.gz", "s".repeat(240)));
    for name in [&result, &record_of] {
        std::fs::copy(bundle.path("images/s0000.nii.gz"), bundle.path("images").join(name)).unwrap();
    }
    let output = bundle.infer(&[]);
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(1) && log.contains("2 of 3 cases failed"), "{log}");
    assert_eq!(log.matches("File name too long").count(), 2, "{log}");
    let record = bundle.record();
    assert!(
        record["cases"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|case| case["status"] == "failed")
            .all(|case| case["windows"] == 0),
        "{record}"
    );
    assert_eq!(results(&bundle.path("out")), ["s0000_trans.nii.gz"]);
}

/// A limit on the size of files stands for a full disk: writing fails in the middle.
#[test]
fn writing_that_fails_is_one_error_per_case_and_leaves_nothing() {
    let bundle = Bundle::new(2);
    let binary = env!("CARGO_BIN_EXE_segbundle");
    let script =
        format!("trap '' XFSZ; ulimit -f 1; exec {binary} run --config_file configs/inference.json --meta_file None");
    let output = Command::new("bash").args(["-c", &script]).current_dir(bundle.0.path()).output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    for case in ["s0000", "s0001"] {
        let name = format!("--> out/{case}/{case}_trans.nii.gz");
        assert!(log.contains(&name) && log.contains("File too large") && log.contains("2 of 2 cases failed"), "{log}");
    }
    assert_eq!(results(&bundle.path("out")), Vec::<String>::new());
}

#[test]
fn a_checkpoint_that_is_not_the_networks_stops_the_run_and_runs_nothing() {
    let bundle = Bundle::new(1);
    std::fs::create_dir(bundle.path("models")).unwrap();
    let path = bundle.path("models/model.pt");
    let other = [("conv.weight".to_owned(), Tensor::zeros([400, 30], (Kind::Float, tch::Device::Cpu)))];
    checkpoint::save(&path, &other).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    zip.start_file("archive/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"cposix\nsystem\n(S'touch pwned'\ntR.").unwrap();
    let malicious = zip.finish().unwrap().into_inner();
    let table: [(&str, &[u8], &str); 5] = [
        ("of another network", &whole, "conv.weight"),
        ("truncated", &whole[..whole.len() / 2], "damaged checkpoint"),
        ("malicious", &malicious, "posix.system"),
        ("empty", b"", "found an empty file"),
        ("a download's error page", b"<!DOCTYPE html><html></html>", "found an unknown format"),
    ];
    for (what, bytes, message) in table {
        std::fs::write(&path, bytes).unwrap();
        let output = bundle.infer(&["--load_pretrain", "True"]);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {log}");
        assert!(log.contains(message) && log.contains("models/model.pt"), "{what}: {log}");
        assert!(!bundle.path("pwned").exists() && !bundle.path("out").exists(), "{what}");
    }
}

#[test]
fn weights_that_are_nan_and_what_a_network_makes_of_them_are_warned_of() {
    let bundle = Bundle::new(1);
    std::fs::create_dir(bundle.path("models")).unwrap();
    let network = build(&[
        ("in_channels", 1.into()),
        ("out_channels", 4.into()),
        ("init_filters", 8.into()),
        ("blocks_down", Value::from([1, 1])),
        ("blocks_up", Value::from([1])),
    ]);
    let network = network.unwrap();
    let tensors: Vec<(String, Tensor)> =
        network.state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect();
    let _ = tensors[0].1.view([-1]).narrow(0, 5, 1).fill_(f64::NAN);
    checkpoint::save(bundle.path("models/model.pt"), &tensors).unwrap();
    let output = bundle.infer(&["--load_pretrain", "True"]);
    let log = text(&output.stderr);
    // As MONAI, which says nothing.
    assert_eq!(output.status.code(), Some(0), "{log}");
    let first = format!("the weights loaded into SegResNet are NaN or infinite in `{}`", tensors[0].0);
    assert!(log.contains(&first), "{log}");
    assert_eq!(log.matches("images/s0000.nii.gz: the output of the network contains NaN").count(), 1, "{log}");
    assert!(!text(&bundle.infer(&[]).stderr).contains("NaN"));
}

#[test]
fn a_damaged_file_is_an_error_of_the_transform_that_loads_it() {
    let bundle = Bundle::new(1);
    let path = bundle.path("images/s0000.nii.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(path, bytes).unwrap();
    let output = bundle.infer(&[]);
    let record = bundle.record();
    assert_eq!(output.status.code(), Some(1), "{record}");
    assert!(record["cases"][0]["error"]["message"].as_str().unwrap().starts_with("LoadImaged: "), "{record}");
}
