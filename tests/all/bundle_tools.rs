//! Commands for bundles: `info`, `init-bundle`, `verify-metadata`, `verify-net-in-out`, `ckpt-export`; completions,
//! manual pages and `--version`. Downloads are in `download.rs`.

use crate::common::{Bundle, program, text};
use segbundle::bundle::{Rules, load, load_metadata};
use segbundle::checkpoint;
use segbundle::component::{Args, BuildContext};
use segbundle::contracts::{Mode, NetworkHandle};
use segbundle::registry;
use segbundle::tools::bundle::{metadata, network};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Output;
use tch::{CModule, Device, Kind, Tensor};

const METADATA: &str = include_str!("../../configs/metadata.json");

fn check(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Our own metadata after a change: messages of errors and warnings, with ids.
fn findings(change: impl FnOnce(&mut Json)) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.json");
    let mut content: Json = serde_json::from_str(METADATA).unwrap();
    change(&mut content);
    std::fs::write(&path, serde_json::to_string_pretty(&content).unwrap()).unwrap();
    let found = metadata::check(&load_metadata(&[path.display().to_string()], Rules::default()).unwrap());
    let shown = |errors: Vec<segbundle::error::Error>| {
        errors.iter().map(|error| format!("{} ({})", error.message(), error.get_id().unwrap_or_default())).collect()
    };
    (shown(found.errors), shown(found.warnings))
}

#[test]
fn our_own_metadata_follow_the_specification() {
    assert_eq!(findings(|_| ()), (vec![], vec![]));
}

#[test]
fn all_violations_of_the_metadata_are_found_at_once() {
    let (errors, _) = findings(|metadata| {
        metadata["version"] = json!(1.5);
        metadata.as_object_mut().unwrap().remove("task");
        metadata["references"] = json!("a paper");
        let image = &mut metadata["network_data_format"]["inputs"]["image"];
        image["num_channels"] = json!(0);
        image["spatial_shape"] = json!([96, -1]);
        image["value_range"] = json!([0, "1"]);
        image["is_patch_data"] = json!("true");
        image.as_object_mut().unwrap().remove("dtype");
        metadata["network_data_format"]["outputs"] = json!([]);
    });
    let image = "network_data_format::inputs::image";
    let expected = [
        "expected a string, found 1.5 (version)".to_owned(),
        "`task` is missing ()".to_owned(),
        "expected a list, found 'a paper' (references)".to_owned(),
        format!("expected an integer of at least 1, found 0 ({image}::num_channels)"),
        format!(
            "expected a list of sizes: integers of at least 1, or strings such as \"*\", \"16*n\" or \"2**p\", \
             found [96, -1] ({image}::spatial_shape)"
        ),
        format!("`dtype` is missing ({image})"),
        format!("expected a list of numbers, [MIN, MAX] or [], found [0, '1'] ({image}::value_range)"),
        format!("expected true or false, found 'true' ({image}::is_patch_data)"),
        "expected a dict, found [] (network_data_format::outputs)".to_owned(),
    ];
    let (mut errors, mut expected) = (errors, expected.to_vec());
    errors.sort();
    expected.sort();
    assert_eq!(errors, expected);
}

#[test]
fn metadata_that_other_tools_cannot_use_are_warned_of() {
    let (errors, warnings) = findings(|metadata| {
        metadata.as_object_mut().unwrap().remove("schema");
        let pred = &mut metadata["network_data_format"]["outputs"]["pred"];
        pred["value_range"] = json!([0, 1, 2]);
        pred["spatial_shape"] = json!(["2**m", 96, 96]);
        pred["num_channels"] = json!(3);
        metadata["network_data_format"]["inputs"]["image"]["dtype"] = json!("float33");
    });
    assert_eq!(errors, [""; 0]);
    for part in [
        "`schema` is missing",
        "found 'float33'",
        "only the variables p and n are supported, found `m`",
        "expected a name for each of 3 channels, found 105",
        "found 3 values",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 5, "{warnings:?}");
}

#[test]
fn a_new_bundle_verifies_and_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| program(folder.path()).args(words).output().unwrap();
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/checkpoints/flat.pt");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    check(run(&["init-bundle", "new", "--dataset_license"]));
    check(run(&["init_bundle", "--bundle_dir", "empty", "--ckpt_file", weights, "--inference_str", "{'a': 1}"]));
    assert_eq!(std::fs::read(folder.path().join("empty/models/model.pt")).unwrap(), std::fs::read(weights).unwrap());
    let given: Json =
        serde_json::from_slice(&std::fs::read(folder.path().join("empty/configs/inference.json")).unwrap()).unwrap();
    assert_eq!(given, json!({"a": 1}));
    for file in ["LICENSE", "docs/README.md", "docs/data_license.txt", "models"] {
        assert!(folder.path().join("new").join(file).exists(), "{file}");
    }
    let checked = check(run(&["verify-metadata", "new/configs/metadata.json"]));
    assert!(checked.contains("0 mistakes, 0 warnings"), "{checked}");
    check(run(&["verify_net_in_out", "network_def", "--config_file", "new/configs/inference.json", "--n", "2"]));
    let bundle = Bundle::new(0);
    bundle.image("a.nii.gz", 0);
    let images = ["--datalist", &format!("['{}']", bundle.path("a.nii.gz").display())];
    let config = ["verify", "--config_file", "new/configs/inference.json", "--bundle_root", "new"];
    let checked = check(run(&[&config[..], &images].concat()));
    assert!(checked.contains("0 mistakes"), "{checked}");
    let untrained = run(&[&["run"], &config[1..], &images, &["--output_dir", "out"]].concat());
    let said = [untrained.stdout, untrained.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("no weights at new/models/model.pt: the network is untrained"), "{said}");

    let page = check(run(&["info", "new"]));
    assert!(page.starts_with("new 0.0.1\n") && page.contains("network_def: SegResNet(spatial_dims=3, "), "{page}");
    let json: Json = serde_json::from_str(&check(run(&["info", "new/configs/inference.json", "--json"]))).unwrap();
    assert_eq!(json["metadata"]["monai_version"], "1.6.1");
    assert_eq!(json["outputs"][0]["channels"], 2);
    let file = |path: &str| json["files"].as_array().unwrap().iter().find(|file| file["path"] == path).unwrap();
    assert!(file("configs/metadata.json")["bytes"].as_u64().unwrap() > 100);
    assert!(file("models/model.pt")["bytes"].is_null());

    let again = run(&["init-bundle", "new"]);
    let log = text(&again.stderr);
    assert!(again.status.code() == Some(2) && log.contains("found a folder that is not empty"), "{log}");
    let refused = run(&["init-bundle", "other", "--ckpt_file", "missing.pt"]);
    assert!(text(&refused.stderr).contains("cannot read the checkpoint"), "{}", text(&refused.stderr));
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_new_bundle_takes_only_weights_and_json_objects() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| program(folder.path()).args(words).output().unwrap();
    let data = |name: &str| format!("{}/tests/data/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"));
    check(run(&["convert-weights", &data("flat.pt"), "w.safetensors"]));
    check(run(&["init-bundle", "new", "--ckpt_file", "w.safetensors"]));
    let names = |path: &Path| -> Vec<String> {
        checkpoint::load(path).unwrap().shapes(None).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    let [mut expected, mut found] =
        [Path::new(&data("flat.pt")), &folder.path().join("new/models/model.pt")].map(names);
    expected.sort();
    found.sort();
    assert!(found == expected && !found.is_empty(), "{found:?}, expected {expected:?}");
    std::fs::write(folder.path().join("notes.txt"), "no weights").unwrap();
    for (name, value, message) in [
        ("--ckpt_file", &*data("script.pt"), "found a TorchScript archive"),
        ("--ckpt_file", "notes.txt", "found an unknown format"),
        ("--metadata_str", "[1, 2]", "`--metadata_str`: expected a JSON object, found [1, 2]"),
        ("--metadata_str", "{\"a\": true", "--metadata_str"),
        ("--inference_str", "5", "`--inference_str`: expected a JSON object, found 5"),
        ("--inference_str", "configs/inference.json", "--inference_str"),
    ] {
        let refused = run(&["init-bundle", "other", name, value]);
        let log = text(&refused.stderr);
        assert!(!refused.status.success() && log.contains(message), "{name} {value}: {log}");
        assert!(!folder.path().join("other").exists());
    }
    check(run(&["init-bundle", "text", "--metadata_str", "{\"a\": [1, \"b\"]}"]));
    let written = std::fs::read(folder.path().join("text/configs/metadata.json")).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written, serde_json::json!({"a": [1, "b"]}));
}

#[test]
fn a_new_bundle_replaces_nothing_but_an_empty_folder_and_only_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["empty", "here"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("file"), "").unwrap();
    std::os::unix::fs::symlink("empty", at("link")).unwrap();
    let failed = program(folder.path()).args(["init-bundle", "empty", "--ckpt_file", "missing.pt"]).output().unwrap();
    assert!(text(&failed.stderr).contains("cannot read the checkpoint"), "{}", text(&failed.stderr));
    assert_eq!(std::fs::read_dir(at("empty")).unwrap().count(), 0);
    for (folder, name, found) in [
        (at("here"), ".", "found the current folder"),
        (folder.path().into(), "file", "found a file"),
        (folder.path().into(), "link", "found a symbolic link"),
    ] {
        let refused = program(&folder).args(["init-bundle", name]).output().unwrap();
        let log = text(&refused.stderr);
        assert!(refused.status.code() == Some(2) && log.contains(found), "{name}: {log}");
    }
    assert!(at("here").is_dir() && at("link").is_symlink() && at("file").is_file());
}

#[test]
fn info_prints_no_control_characters_of_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| program(folder.path()).args(words).output().unwrap();
    check(run(&["init-bundle", "new"]));
    let path = folder.path().join("new/configs/metadata.json");
    let mut metadata: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    metadata["task"] = json!("a\u{1b}]0;title\u{7}b\nversion 9\u{9b}2J");
    std::fs::write(&path, metadata.to_string()).unwrap();
    let page = check(run(&["info", "new"]));
    assert!(page.lines().all(|line| !line.chars().any(char::is_control)), "{page:?}");
    assert!(page.contains(r"a\u{1b}]0;title\u{7}b\nversion 9\u{9b}2J"), "{page}");
}

/// A bundle with metadata for its network of one channel and four classes.
fn bundle_with_metadata() -> Bundle {
    let bundle = Bundle::new(0);
    let tensor = |channels: usize| {
        let names: serde_json::Map<_, _> = (0..channels).map(|at| (at.to_string(), json!("a"))).collect();
        json!({"type": "image", "format": "hounsfield", "num_channels": channels, "spatial_shape": ["8*n", "2**p", "*"],
            "dtype": "float32", "value_range": [], "is_patch_data": true, "channel_def": names})
    };
    let format = json!({"network_data_format": {"inputs": {"image": tensor(1)}, "outputs": {"pred": tensor(4)}}});
    std::fs::write(bundle.path("configs/metadata.json"), format.to_string()).unwrap();
    bundle
}

#[test]
fn a_network_is_compared_with_the_metadata() {
    let bundle = bundle_with_metadata();
    let verify = |more: &[&str]| {
        bundle.run(&[&["verify-net-in-out", "network_def", "--config_file", "configs/inference.json"], more].concat())
    };
    let sizes = ["--n", "2", "--p", "3", "--any", "10"];
    let shown = check(verify(&sizes));
    assert!(shown.contains("[1, 1, 16, 8, 10] float32") && shown.contains("[1, 4, 16, 8, 10] float32"), "{shown}");
    let format = "--_meta_#network_data_format";
    for (key, value, message) in [
        ("#outputs#pred#num_channels", "5", "expected 5 channels from the network, found 4"),
        ("#inputs#image#num_channels", "2", "expected 1 input channels, as of the network, found 2"),
        ("#outputs#pred#dtype", "float16", "expected float16 from the network, found float32"),
        ("#inputs#image#dtype", "float16", "a float16 input needs a GPU"),
        ("#inputs#image#spatial_shape", "[16,16,9]", "multiples of 2"),
        ("#inputs", "{}", "the metadata have no `_meta_::network_data_format::inputs::image`"),
    ] {
        let output = verify(&[&sizes[..], &[&format!("{format}{key}"), value]].concat());
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(2) && log.contains(message) && log.contains("_meta_::"), "{key}: {log}");
    }
    for (words, message) in [
        (&["verify-net-in-out"][..], "no network is given"),
        (&["verify-net-in-out", "netwrok", "--config_file", "configs/inference.json"], "the config has no `netwrok`"),
        (
            &["verify-net-in-out", "output_dir", "--config_file", "configs/inference.json"],
            "expected a network, found str",
        ),
    ] {
        let log = text(&bundle.run(words).stderr);
        assert!(log.contains(message), "{log}");
    }
}

/// Exports a network with weights from `seed`; returns the file and the largest difference of its outputs for sizes that
/// were not traced.
fn exported(bundle: &Bundle, net: &str, name: &str, inputs: &[[i64; 5]]) -> f64 {
    tch::manual_seed(5);
    let built: std::sync::Arc<NetworkHandle> = {
        let config: Json = serde_json::from_str(net).unwrap();
        let values = config.as_object().unwrap().iter().filter(|(key, _)| *key != "_target_");
        let node = |value: &Json| {
            load::read_text(&value.to_string(), "x.json", &mut load::Notes::default()).unwrap().to_value()
        };
        let args = Args::named(values.map(|(key, value)| (key.as_str().into(), node(value))));
        let component = registry::table().component(config["_target_"].as_str().unwrap()).unwrap();
        (component.build)(args, &mut BuildContext::default()).unwrap().downcast().unwrap()
    };
    let own = built.0.lock();
    let state: Vec<(String, Tensor)> = own.state().tensors.iter().map(|(n, t)| (n.clone(), t.detach())).collect();
    checkpoint::save(bundle.path("w.pt"), &state).unwrap();
    let words = ["ckpt-export", "network_def", "--config_file", "configs/inference.json", "--ckpt_file", "w.pt"];
    check(bundle.run(&[&words[..], &["--filepath", name, "--network_def", net]].concat()));
    let mut module = CModule::load(bundle.path(name).with_extension("ts")).unwrap();
    module.f_set_eval().unwrap();
    let names: Vec<String> = module.named_parameters().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| own.state().tensors.contains_key(name)), "{names:?}");
    let differences = inputs.iter().map(|size| {
        let x = Tensor::randn(size, (Kind::Float, Device::Cpu));
        let expected = own.forward(&x, Mode::EVAL).unwrap();
        let found = tch::no_grad(|| module.forward_ts(&[x]).unwrap());
        (found - expected).abs().max().double_value(&[])
    });
    differences.fold(0.0, f64::max)
}

#[test]
fn exported_networks_compute_the_same_for_any_size() {
    let bundle = bundle_with_metadata();
    let sizes = [[1, 1, 16, 16, 16], [2, 1, 24, 8, 40]];
    for net in [
        r#"{"_target_": "SegResNet", "in_channels": 1, "out_channels": 4, "blocks_down": [1, 1], "blocks_up": [1]}"#,
        r#"{"_target_": "SegResNet", "in_channels": 1, "out_channels": 4, "blocks_down": [1, 1], "blocks_up": [1],
            "upsample_mode": "pixelshuffle", "act": "PRELU", "dropout_prob": 0.2}"#,
        r#"{"_target_": "SegResNet", "in_channels": 1, "out_channels": 4, "blocks_down": [1, 1], "blocks_up": [1],
            "upsample_mode": "deconv", "norm": "INSTANCE"}"#,
        r#"{"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 4, "channels": [4, 8, 8],
            "strides": [2, 2], "num_res_units": 1, "norm": "BATCH", "dropout": 0.1}"#,
        r#"{"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 4, "channels": [4, 8],
            "strides": [2], "norm": ["LOCALRESPONSE", {"size": 2}]}"#,
    ] {
        assert_eq!(exported(&bundle, net, "net.ts", &sizes), 0.0, "{net}");
    }
}

#[test]
fn an_exported_network_holds_metadata_and_config_and_runs_here() {
    let bundle = bundle_with_metadata();
    let net =
        r#"{"_target_": "SegResNet", "in_channels": 1, "out_channels": 4, "blocks_down": [1, 1], "blocks_up": [1]}"#;
    exported(&bundle, net, "models/net", &[]);
    let path = bundle.path("models/net.ts");
    let mut archive = zip_names(&path);
    archive.retain(|name| name.contains("/extra/"));
    archive.sort();
    assert_eq!(archive, ["net/extra/inference.json", "net/extra/metadata.json"]);
    bundle.image("images/a.nii.gz", 3);
    let output = bundle.infer(&["--network", "$torch.jit.load('models/net.ts')", "--load_pretrain", "False"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The network itself with the same weights gives the same labels.
    let read = || segbundle::formats::nifti::read(bundle.path("out/a/a_trans.nii.gz")).unwrap().to_f32_vec().unwrap();
    let of_file = read();
    let own = bundle.infer(&["--network_def", net, "--load_pretrain", "True", "--checkpointloader#load_path", "w.pt"]);
    assert!(own.status.success(), "{}", text(&own.stderr));
    let own = read();
    let different = own.iter().zip(&of_file).filter(|(a, b)| a != b).count();
    assert!(different * 1000 < own.len(), "{different} of {} voxels differ", own.len());
}

fn zip_names(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    // Names in the local headers: 30 bytes, of which two at 26 are the length of the name.
    let starts = (0..bytes.len() - 30).filter(|at| bytes[*at..].starts_with(b"PK\x03\x04"));
    let name = |at: usize| {
        let length = usize::from(u16::from_le_bytes([bytes[at + 26], bytes[at + 27]]));
        String::from_utf8_lossy(&bytes[at + 30..at + 30 + length]).into_owned()
    };
    starts.map(name).collect()
}

#[test]
fn exports_that_cannot_be_are_errors() {
    let bundle = bundle_with_metadata();
    let export = |more: &[&str]| {
        let output = bundle.run(&[&["ckpt_export", "--config_file", "configs/inference.json"], more].concat());
        assert!(!output.status.success());
        text(&output.stderr)
    };
    assert!(export(&[]).contains("cannot find the weights"));
    std::fs::create_dir(bundle.path("models")).unwrap();
    std::fs::write(bundle.path("models/model.pt"), "x").unwrap();
    assert!(export(&[]).contains("expected a checkpoint of torch.save"));
    assert!(export(&["--input_shape", "[1,1]"]).contains("`input_shape`: expected a list"));
    checkpoint::save(bundle.path("models/model.pt"), &[("a".to_owned(), Tensor::from(1.0))]).unwrap();
    assert!(export(&[]).contains("do not fit"));
    assert!(export(&["--key_in_ckpt", "ema"]).contains("ema"));
    // Before the weights are read, which do not fit.
    std::fs::write(bundle.path("file"), "").unwrap();
    assert!(export(&["--filepath", "models"]).contains("a folder of this name exists"));
    assert!(export(&["--filepath", "file/model.ts"]).contains("file is not a folder"));
    assert_eq!(std::fs::read_dir(bundle.path("models")).unwrap().count(), 1);
}

/// A network with an operation that depends on the size of the input.
struct Fixed(Tensor, segbundle::contracts::NetworkState);

impl segbundle::contracts::Network for Fixed {
    fn name(&self) -> &str {
        "Fixed"
    }
    fn in_channels(&self) -> usize {
        1
    }
    fn out_channels(&self) -> usize {
        1
    }
    fn forward(&self, x: &Tensor, _: Mode) -> segbundle::error::Result<Tensor> {
        Ok(x * x.size()[2] + &self.0)
    }
    fn state(&self) -> &segbundle::contracts::NetworkState {
        &self.1
    }
    fn load(&mut self, _: &[(String, Tensor)]) -> segbundle::error::Result<()> {
        Ok(())
    }
    fn to(&mut self, _: segbundle::torch::Device) -> segbundle::error::Result<()> {
        Ok(())
    }
    fn device(&self) -> segbundle::torch::Device {
        segbundle::torch::Device::Cpu
    }
}

#[test]
fn a_network_that_depends_on_the_size_of_its_input_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let tolerance = network::Tolerance { relative: 1e-4, absolute: 1e-6 };
    let fixed = Fixed(Tensor::from(1.0), segbundle::contracts::NetworkState::default());
    let path = folder.path().join("fixed.ts");
    let error = network::export(&fixed, &[1, 1, 4, 4, 4], &[], tolerance, &path).unwrap_err();
    assert!(error.message().contains("differs for an input of [1, 1, 8, 4, 4]"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn completions_and_manual_pages_know_the_arguments_of_monai() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| program(folder.path()).args(words).output().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = check(run(&["completions", shell]));
        for word in ["config_file", "key_in_ckpt", "skip-existing", "verify-net-in-out"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    check(run(&["man", "man"]));
    let page = |name: &str| std::fs::read_to_string(folder.path().join("man").join(name)).unwrap();
    assert!(page("segbundle.1").contains("segbundle\\-ckpt\\-export(1)"));
    assert!(page("segbundle-run.1").contains("config_file"));
}

#[test]
fn the_version_names_libtorch_cpu_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let shown = check(program(folder.path()).env("OMP_NUM_THREADS", "3").arg("--version").output().unwrap());
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].starts_with("libtorch 2.") && lines[2].starts_with("CPU: "), "{shown}");
    assert_eq!(lines[3], "threads: 3");
}
