//! `verify` builds what a run would build: every wrong value is listed at once, and nothing is run.

use crate::common::{Bundle, build, text};
use segbundle::checkpoint;
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{Network, Shared};
use tch::Tensor;

/// Replace each `old` by `new` in the bundle's config.
fn edit(bundle: &Bundle, edits: &[(&str, &str)]) {
    let path = bundle.path("configs/inference.json");
    let mut config = std::fs::read_to_string(&path).unwrap();
    for (old, new) in edits {
        assert!(config.contains(old), "{old}");
        config = config.replace(old, new);
    }
    std::fs::write(path, config).unwrap();
}

/// Exit code and report.
fn verify(bundle: &Bundle, more: &[&str]) -> (Option<i32>, String) {
    let output = bundle.run(&[&["verify", "--config_file", "configs/inference.json"], more].concat());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn assert_lists(report: &str, expected: &[&str]) {
    for part in expected {
        assert!(report.contains(part), "{part}\n\nin:\n{report}");
    }
    let mistakes = segbundle::text::count(expected.len(), "mistake");
    assert!(report.contains(&format!(": {mistakes}, ")), "{report}");
}

#[test]
fn wrong_values_in_a_config_are_all_listed_at_once() {
    let bundle = Bundle::new(1);
    edit(
        &bundle,
        &[
            (r#""init_filters": 8"#, r#""init_filters": "8""#),
            (r#""in_channels": 1"#, r#""in_channels": -1"#),
            (r#""axcodes": "RAS""#, r#""axcodes": "RAX""#),
            (r#""pixdim": [3.0, 3.0, 3.0]"#, r#""pixdim": [3.0, "3e-1", 3.0]"#),
            (r#""nonzero": true"#, r#""nonzero": "yes""#),
            (r#""batch_size": 1"#, r#""batch_size": 0"#),
            (r#""overlap": 0.25"#, r#""overlap": 1.25"#),
            (r#""softmax": true"#, r#""softmax": "soft""#),
            (r#""argmax": true"#, r#""argmax": true, "threshold": "half""#),
            (r#""output_dtype": "$numpy.uint8""#, r#""output_dtype": "uint9""#),
        ],
    );
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(2), "{report}");
    assert_lists(
        &report,
        &[
            "SegResNet: argument `init_filters`: expected int of at least 0, found str '8'",
            "SegResNet: argument `in_channels`: expected int of at least 0, found int -1",
            "expected one of L, R, P, A, I, S, found `X`",
            "Spacingd: argument `pixdim`: expected",
            "NormalizeIntensityd: argument `nonzero`: expected bool, found str 'yes'",
            "batch_size",
            "overlap is 1.25, expected at least 0 and below 1",
            "Activationsd: argument `softmax`: expected",
            "AsDiscreted: argument `threshold`: expected",
            "SaveImaged: argument `output_dtype`: expected",
        ],
    );
    assert!(report.contains("network_def, init_filters") || report.contains("network_def::init_filters"), "{report}");
    assert!(report.contains("hint: write 8, without quotes"), "{report}");
    assert!(!bundle.path("out").exists());
}

#[test]
fn wrong_values_of_overrides_are_all_listed_at_once() {
    let bundle = Bundle::new(1);
    let overrides = [
        ("network_def#out_channels", "many", "argument `out_channels`: expected int of at least 0, found str 'many'"),
        ("preprocessing#transforms#2#axcodes", "XYZ", "expected one of L, R, P, A, I, S, found `X`"),
        ("preprocessing#transforms#3#pixdim", "[]", "`pixdim` is empty"),
        ("preprocessing#transforms#3#mode", "bilinea", "bilinea"),
        ("dataloader#num_workers", "-1", "num_workers"),
        ("inferer#roi_size", "[16,16]", "`roi_size` has 2 values"),
        ("postprocessing#transforms#1#argmax", "on", "AsDiscreted: argument `argmax`: expected"),
        ("postprocessing#transforms#2#nearest_interp", "2", "Invertd: argument `nearest_interp`: expected"),
        ("postprocessing#transforms#3#output_ext", ".nrrd", "argument `output_ext`: expected '.nii.gz' or '.nii'"),
        ("evaluator#amp", "maybe", "SupervisedEvaluator: argument `amp`: expected bool, found str 'maybe'"),
    ];
    let argv: Vec<String> =
        overrides.iter().flat_map(|(id, value, _)| [format!("--{id}"), (*value).to_owned()]).collect();
    let (code, report) = verify(&bundle, &argv.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, Some(2), "{report}");
    assert_lists(&report, &overrides.map(|(_, _, message)| message));
}

#[test]
fn lists_of_unequal_length_in_zip_are_a_warning() {
    let bundle = Bundle::new(1);
    edit(&bundle, &[(r#""run": ["#, r#""run": ["$[pair for pair in map(list, zip([1, 2], [1]))]", "#)]);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report.matches("warning: zip() pairs lists of 2 and 1 items").count(), 1, "{report}");
    assert!(
        report.contains("inference.json:") && report.contains(", run::0") && report.contains(", 1 warning"),
        "{report}"
    );
}

#[test]
fn windows_that_do_not_fit_the_network_are_a_mistake_in_the_inferer_s_argument() {
    let bundle = Bundle::new(1);
    let expected = "SlidingWindowInferer: argument `roi_size`: SegResNet: expected axes that are multiples of 2, found \
                    [16, 2, 15]";
    let (code, report) = verify(&bundle, &["--inferer#roi_size", "[16,None,15]"]);
    assert_eq!(code, Some(2), "{report}");
    assert_lists(&report, &[expected]);
    let run = bundle.infer(&["--inferer#roi_size", "[16,None,15]"]);
    assert!(run.status.code() == Some(2) && text(&run.stderr).contains(expected), "{}", text(&run.stderr));
    // The size of the image is known when it is read.
    let run = bundle.infer(&["--inferer#roi_size", "$None", "--preprocessing#transforms#3#pixdim", "[2.0,2.0,1.9]"]);
    let expected = "SlidingWindowInferer: SegResNet: expected axes that are multiples of 2";
    assert!(run.status.code() == Some(1) && text(&run.stderr).contains(expected), "{}", text(&run.stderr));
}

#[test]
fn what_is_not_supported_with_these_arguments_is_listed() {
    let bundle = Bundle::new(1);
    edit(&bundle, &[(r#""amp": true"#, r#""amp": true, "prepare_batch": "$lambda x: x""#)]);
    let (code, report) = verify(&bundle, &["--postprocessing#transforms#3#scale", "255"]);
    assert_eq!(code, Some(2), "{report}");
    for argument in
        ["unsupported: SaveImaged: argument `scale`", "unsupported: SupervisedEvaluator: argument `prepare_batch`"]
    {
        assert!(report.contains(argument), "{report}");
    }
}

#[test]
fn a_checkpoint_and_images_that_are_not_there_are_listed_where_the_run_needs_them() {
    let bundle = Bundle::new(0);
    let (code, report) = verify(&bundle, &["--load_pretrain", "True"]);
    assert_eq!(code, Some(2), "{report}");
    assert_lists(&report, &["the checkpoint models/model.pt does not exist", "the datalist is empty"]);
    assert!(report.contains("hint: put the file there, or use `--load_pretrain False`"), "{report}");
    assert!(report.contains("hint: check `datalist`"), "{report}");
    bundle.image("images/s0000.nii.gz", 0);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn outside_of_the_bundle_a_missing_file_says_where_paths_start() {
    let bundle = Bundle::new(1);
    edit(
        &bundle,
        &[
            (r#""output_dir": "out""#, r#""bundle_root": ".", "output_dir": "$@bundle_root + '/out'""#),
            (r#""load_path": "models/model.pt""#, r#""load_path": "$@bundle_root + '/models/model.pt'""#),
            (r#"if @load_pretrain else None"#, r#"if True else None"#),
            (r#""load_pretrain": false,"#, ""),
            ("'images/*.nii.gz'", "@bundle_root + '/images/*.nii.gz'"),
        ],
    );
    let outside = tempfile::tempdir().unwrap();
    let config = bundle.path("configs/inference.json").display().to_string();
    let root = bundle.0.path().canonicalize().unwrap().display().to_string();
    for command in ["run", "verify"] {
        let output = bundle.command(&[command, "--config_file", &config]).current_dir(outside.path()).output().unwrap();
        let report = text(&output.stdout) + &text(&output.stderr);
        assert!(report.contains("the checkpoint ./models/model.pt does not exist"), "{report}");
        assert!(report.contains(&format!("run in {root}, or add --bundle_root '{root}'")), "{report}");
        assert!(!report.contains("load_pretrain"), "{report}");
    }
}

#[test]
fn images_that_are_not_there_and_results_that_clash_are_listed() {
    let bundle = Bundle::new(1);
    let (code, report) = verify(&bundle, &["--datalist", "['images/s0000.nii.gz','images/no.nii.gz']"]);
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains("1 of 2 files under `image` is missing: images/no.nii.gz"), "{report}");
}

/// What indexing a dataset or calling a network gives is not known beforehand; other mistakes of the expression are.
#[test]
fn images_and_networks_that_an_expression_would_compute_are_withheld() {
    let bundle = Bundle::new(1);
    std::fs::write(bundle.path("images/s0000.nii.gz"), b"no image").unwrap();
    let run = r#""run": ["$@dataset[0]", "$[x for x in @dataloader]", "$next(iter(@dataloader))", "$@preprocessing({'image': 'no'})",
        "$@network(torch.zeros(1))", "$len(@dataset) + 'x'"#;
    edit(&bundle, &[(r#""run": ["$@evaluator.run()"#, run)]);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains(": 1 mistake, ") && report.contains("$len(@dataset) + 'x'"), "{report}");
}

/// Of images, headers are read; voxels, the run itself and its results are not touched.
#[test]
fn verify_writes_nothing_and_reads_headers_only() {
    let bundle = Bundle::new(5);
    let whole = std::fs::read(bundle.path("images/s0000.nii.gz")).unwrap();
    std::fs::write(bundle.path("images/s0000.nii.gz"), &whole[..whole.len() / 2]).unwrap();
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(!bundle.path("out").exists() && report.contains("0 mistakes"), "{report}");
    for case in 1..5 {
        std::fs::write(bundle.path(&format!("images/s000{case}.nii.gz")), b"no image").unwrap();
    }
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains("4 of 5 cases cannot be read\n") && report.contains("and 1 more"), "{report}");
    assert!(report.contains("images/s0001.nii.gz: LoadImaged: expected a NIfTI header"), "{report}");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_reported_by_verify_and_run_in_the_same_words() {
    let bundle = Bundle::new(1);
    let args = [("in_channels", 1), ("out_channels", 2), ("init_filters", 8)].map(|(name, n)| (name, Value::from(n)));
    let blocks = [("blocks_down", Value::from([1, 1])), ("blocks_up", Value::from([1]))];
    let network = build("SegResNet", &[&args[..], &blocks].concat()).unwrap();
    let network = Shared::<dyn Network>::from_value(&network).unwrap();
    let state: Vec<(String, Tensor)> =
        network.lock().state().tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect();
    std::fs::create_dir(bundle.path("models")).unwrap();
    checkpoint::save(bundle.path("models/model.pt"), &state).unwrap();
    let (code, report) = verify(&bundle, &["--load_pretrain", "True"]);
    assert_eq!(code, Some(2), "{report}");
    let expected = "variables of SegResNet do not fit: conv_final.2.conv.weight (shape [4, 8, 1, 1, 1], in the file \
                    [2, 8, 1, 1, 1]), conv_final.2.conv.bias (shape [4], in the file [2])";
    let hint = "the weights have 2 output channels, the network 4: set its argument `out_channels` to 2";
    let log = text(&bundle.infer(&["--load_pretrain", "True"]).stderr);
    for text in [&report, &log] {
        assert!(text.contains(expected) && text.contains(hint) && text.contains("models/model.pt"), "{text}");
    }
}

/// A message that contains the name of an argument without a value is still reported.
#[test]
fn mistakes_that_mention_an_argument_without_a_value_are_reported() {
    let bundle = Bundle::new(1);
    let before = r#""pixdim": [3.0, 3.0, 3.0], "mode": "bilinear""#;
    let after = r#""pixdim": [], "mode": "@missing", "min_pixdim": "@missing""#;
    edit(&bundle, &[(before, after)]);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains("Spacingd: `pixdim` is empty"), "{report}");
}

#[test]
fn components_that_write_are_listed_unless_they_are_disabled() {
    let bundle = Bundle::new(1);
    let before = r#""initialize": ["#;
    let saver =
        r#"{"_target_": "CheckpointSaver", "save_dir": "out", "save_dict": {"model": "@network"}, "save_final": true}"#;
    let off = saver.replace("{\"_target_\"", "{\"_disabled_\": \"$not @load_pretrain\", \"_target_\"");
    edit(&bundle, &[(before, &format!(r#""on": {saver}, "off": {off}, "initialize": ["$@on", "$@off", "#))]);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("monai.handlers.CheckpointSaver") && report.contains(", on)"), "{report}");
    assert!(!report.contains(", off)"), "{report}");
}

#[test]
fn an_unknown_device_is_reported_once() {
    let bundle = Bundle::new(1);
    let (code, report) = verify(&bundle, &["--device", "gpu"]);
    assert_eq!(code, Some(2), "{report}");
    assert_eq!(report.matches("unknown device 'gpu': expected cpu, cuda or cuda:N").count(), 1, "{report}");
    assert!(report.contains(": 1 mistake, "), "{report}");
}

#[test]
fn a_transform_that_cannot_process_predictions_is_reported_before_the_run() {
    let bundle = Bundle::new(1);
    let before = r#"{"_target_": "Activationsd", "keys": "pred", "softmax": true}"#;
    let lambda = r#"{"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x"}"#;
    edit(&bundle, &[(before, &format!("{before}, {lambda}"))]);
    let (code, report) = verify(&bundle, &[]);
    assert_eq!(code, Some(2), "{report}");
    assert!(report.contains("unsupported: Lambdad cannot process the prediction `pred`"), "{report}");
    let output = bundle.infer(&[]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("Lambdad cannot process the prediction `pred`") && !log.contains("[1/1]"), "{log}");
}
