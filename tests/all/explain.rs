//! `segbundle explain`: what it says is what a run does.

use crate::common::{Bundle, text};
use serde_json::Value;

fn explain(bundle: &Bundle, options: &[&str], more: &[&str]) -> (Option<i32>, String, String) {
    let fixed = ["explain", "--config_file", "configs/inference.json", "--meta_file", "None"];
    let output = bundle.run(&[options, &fixed, more].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn shapes_windows_and_files_are_those_of_the_run() {
    let bundle = Bundle::new(2);
    let (code, said, log) = explain(&bundle, &[], &["--inferer#roi_size", "[8,8,8]"]);
    assert_eq!(code, Some(0), "{said}{log}");
    assert!(!bundle.path("out").exists(), "nothing is written");
    for line in [
        "SegResNet, 1 -> 4 channels, float32 on cpu",
        "LoadImaged           1 × 20×22×18  2.00×2.00×2.00 mm  int16",
        "Spacingd             1 × 14×15×12  3.00×3.00×3.00 mm  float32  while the file is read",
        "AsDiscreted          fused with the windows",
        "windows              12 of 8×8×8",
        "writes               out/s0001/s0001_trans.nii.gz",
        "2 cases: about",
    ] {
        assert!(said.contains(line), "expected \"{line}\" in {said}");
    }
    assert!(bundle.infer(&["--inferer#roi_size", "[8,8,8]"]).status.success());
    let record: Value = serde_json::from_slice(&std::fs::read(bundle.path("out/run.json")).unwrap()).unwrap();
    assert_eq!(record["cases"][1]["windows"], 12);
    assert_eq!(record["cases"][1]["network_shape"], serde_json::json!([1, 14, 15, 12]));
}

#[test]
fn what_does_not_fit_or_cannot_be_read_is_said_before_anything_runs() {
    let bundle = Bundle::new(1);
    std::fs::write(bundle.path("images/s0001.nii.gz"), b"this is no image".repeat(30)).unwrap();
    let (code, said, log) = explain(&bundle, &[], &[]);
    assert_eq!(code, Some(1), "{said}{log}");
    assert!(said.contains("expected a NIfTI file") && said.contains("1 cannot run"), "{said}");
    let (code, _, log) = explain(&bundle, &["--max-memory", "70M"], &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains("the memory limit is 70 MiB, but the program already takes "), "{log}");
}

#[test]
fn a_hint_after_too_little_memory_names_a_limit_that_works() {
    let bundle = Bundle::new(1);
    let wide = ["--inferer#roi_size", "[96,96,96]"];
    let (_, _, log) = explain(&bundle, &["--max-memory", "64M"], &wide);
    let taken = log.split("already takes ").nth(1).and_then(|text| text.split(' ').next()).unwrap();
    let little = format!("{}M", taken.parse::<f64>().unwrap() as u64 + 40);
    let run = |limit: &str| {
        let fixed = ["--max-memory", limit, "run", "--config_file", "configs/inference.json", "--meta_file", "None"];
        let output = bundle.run(&[&fixed[..], &wide].concat());
        (output.status.code(), text(&output.stderr))
    };
    let (code, log) = run(&little);
    assert_eq!(code, Some(1), "{log}");
    let enough = log.split("hint: set --max-memory to at least ").nth(1).and_then(|text| text.split(',').next());
    let (code, log) = run(enough.unwrap_or_else(|| panic!("no limit in {log}")));
    assert_eq!(code, Some(0), "{log}");
}
