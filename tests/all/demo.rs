//! The configs of `make demo` and `make demo-train` on a few small phantoms.

use crate::common::program;
use std::path::Path;

#[test]
fn the_demos_training_runs_two_epochs_resumes_and_its_weights_are_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = |names: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| format!("'{}'", configs.join(name).display())).collect();
        format!("[{}]", paths.join(","))
    };
    let run = |args: &[&str]| {
        let output = program(folder.path()).args(args).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {log}");
        log
    };
    run(&["sample-data", "--output_dir", "data", "--cases", "5", "--spacing", "6"]);
    let config = files(&["train.json", "demo.json", "demo_train.json"]);
    let train = |epochs: &'static str, before: &[&'static str]| {
        let args =
            ["run", "--config_file", &config, "--dataset_dir", "data", "--val_cases", "1", "--val_interval", "3"];
        run(&[before, &args, &["--max_epochs", epochs]].concat())
    };
    let first = train("2", &[]);
    // Three training cases in batches of one.
    assert!(first.contains("Epoch: 2/2, Iter: 3/3"), "{first}");
    let weights = folder.path().join("models/demo.pt");
    let trained = std::fs::read(&weights).unwrap();
    let resumed = train("3", &["--resume"]);
    assert!(resumed.contains("Epoch: 3/3, Iter: 1/3") && !resumed.contains("Epoch: 2/3"), "{resumed}");
    assert!(resumed.contains("val_mean_dice"), "{resumed}");
    assert_ne!(std::fs::read(&weights).unwrap(), trained);
    let config = files(&["train.json", "evaluate.json", "demo.json"]);
    let log = run(&[
        "run",
        "--config_file",
        &config,
        "--dataset_dir",
        "data",
        "--ckpt_dir",
        "models",
        "--modelname",
        "demo.pt",
    ]);
    assert!(log.contains("val_mean_dice by structure"), "{log}");
    run(&["report", "eval"]);
    let page = std::fs::read_to_string(folder.path().join("eval/report.html")).unwrap();
    assert!(page.contains("train_loss") && page.contains("val_mean_dice"));
}
