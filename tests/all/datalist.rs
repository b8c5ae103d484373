//! Lists of cases from files and from standard input.

use crate::common::{Bundle, text};
use std::io::Write;
use std::process::Stdio;

fn inputs(bundle: &Bundle) -> Vec<String> {
    let record = bundle.record();
    record["cases"].as_array().unwrap().iter().map(|case| case["input"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_table_lists_cases_whose_names_are_never_expressions() {
    let bundle = Bundle::new(2);
    bundle.image("$print('no').nii.gz", 3);
    std::fs::write(bundle.path("cases.csv"), "path\nimages/s0001.nii.gz\n$print('no').nii.gz\n").unwrap();
    let output = bundle.infer(&["--datalist", "cases.csv"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(inputs(&bundle), ["images/s0001.nii.gz", "$print('no').nii.gz"]);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(bundle.record()["config"]["datalist"][0], "images/s0001.nii.gz");

    // Further columns are keys of the case.
    std::fs::write(bundle.path("cases.csv"), "id,image\n@output_dir,images/s0000.nii.gz\n").unwrap();
    let output = bundle.infer(&["--datalist", "cases.csv", "--dataset#data", "@datalist"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let data = bundle.record()["config"]["dataset"]["data"].clone();
    assert_eq!(data, serde_json::json!([{"id": "@output_dir", "image": "images/s0000.nii.gz"}]));

    std::fs::write(bundle.path("cases.csv"), "id,image\n1,a.nii.gz\n2\n").unwrap();
    let output = bundle.infer(&["--datalist", "cases.csv"]);
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("line 3: expected 2 columns"), "{log}");
    assert!(log.contains("--> cases.csv"), "{log}");
    let output = bundle.infer(&["--datalist", "missing.csv"]);
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("cannot read the list of cases: No such file"), "{log}");
}

#[test]
fn standard_input_lists_paths_and_json_lines() {
    let bundle = Bundle::new(3);
    let arguments = ["run", "--config_file", "configs/inference.json", "--meta_file", "None", "--datalist", "-"];
    let mut child = bundle.command(&arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let list = b"images/s0002.nii.gz\n{\"image\": \"images/s0000.nii.gz\"}\n";
    child.stdin.take().unwrap().write_all(list).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(inputs(&bundle), ["images/s0002.nii.gz", "images/s0000.nii.gz"]);
    std::fs::write(bundle.path("cases.jsonl"), "\"images/s0001.nii.gz\"\n").unwrap();
    let output = bundle.infer(&["--datalist", "cases.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(inputs(&bundle), ["images/s0001.nii.gz"]);
}
