//! Runs of parts of a list of cases, and the record of all of them.

use crate::common::{Bundle, results, text};
use serde_json::Value;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

const RUN: [&str; 5] = ["run", "--config_file", "configs/inference.json", "--meta_file", "None"];

fn part(bundle: &Bundle, part: &str, more: &[&str]) -> Output {
    bundle.run(&[&["--skip-existing", "--part", part], &RUN[..], more].concat())
}

fn read(bundle: &Bundle, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(bundle.path(name)).unwrap()).unwrap()
}

/// What a record says of each case, times and memory aside.
fn outcomes(record: &Value) -> Vec<(Value, Value, String, Value)> {
    let cases = record["cases"].as_array().unwrap().iter();
    let outputs = |case: &Value| case["outputs"].to_string().replace("whole/", "out/");
    cases.map(|case| (case["index"].clone(), case["input"].clone(), outputs(case), case["windows"].clone())).collect()
}

#[test]
fn parts_of_which_two_were_killed_and_run_again_equal_one_run() {
    let bundle = Bundle::new(9);
    // Of different sizes, and one that fails.
    std::fs::write(bundle.path("images/s0004.nii.gz"), b"this is no image").unwrap();
    std::fs::create_dir(bundle.path("images/more")).unwrap();
    let list = "$sorted(glob.glob('images/*.nii.gz')) + ['images/more/s0000.nii.gz']";
    bundle.image("images/more/s0000.nii.gz", 70);
    let whole = bundle.infer(&["--output_dir", "whole", "--datalist", list]);
    assert_eq!(whole.status.code(), Some(1), "{}", text(&whole.stderr));

    for index in [0, 1, 3, 4, 6] {
        let output = part(&bundle, &format!("{index}/7"), &["--datalist", list]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    }
    // Killed in its first case.
    let slow = ["--datalist", list, "--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"];
    let arguments = [&["--part", "5/7"], &RUN[..], &slow].concat();
    let mut killed = bundle.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !bundle.path("out/run.part-5-of-7.json").exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();

    let merged = bundle.run(&["merge-runs", "out"]);
    let log = text(&merged.stderr);
    let expected = "2 of 7 parts are not complete: part 2 has no record, part 5 has not ended, or was killed";
    assert!(merged.status.code() == Some(1) && log.contains(expected), "{log}");
    assert_eq!(bundle.record()["status"], "running");

    for index in [2, 5] {
        let output = part(&bundle, &format!("{index}/7"), &["--datalist", list]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    }
    let merged = bundle.run(&["merge-runs", "out"]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    let (joined, single) = (bundle.record(), read(&bundle, "whole/run.json"));
    assert_eq!(outcomes(&joined), outcomes(&single));
    assert_eq!((&joined["status"], &joined["counts"]), (&single["status"], &single["counts"]));
    assert_eq!(joined["part"], Value::Null);
    let labels = |folder: &str, name: &str| std::fs::read(bundle.path(&format!("{folder}/{name}"))).unwrap();
    for case in joined["cases"].as_array().unwrap() {
        for output in case["outputs"].as_array().unwrap() {
            let name = output.as_str().unwrap().strip_prefix("out/").unwrap();
            assert!(labels("out", name) == labels("whole", name), "{name}");
        }
    }
    assert_eq!(results(&bundle.path("out")), results(&bundle.path("whole")));
    let report = bundle.run(&["report", "out", "--previews", "0", "--no-volumes"]);
    assert!(report.status.success(), "{}", text(&report.stderr));
}

#[test]
fn records_that_do_not_belong_together_are_not_merged() {
    let bundle = Bundle::new(3);
    let empty = bundle.run(&["merge-runs", "images"]);
    assert!(empty.status.code() == Some(2) && text(&empty.stderr).contains("found no records of parts"));
    assert!(part(&bundle, "0/2", &[]).status.success());
    bundle.image("images/s0003.nii.gz", 3);
    assert!(part(&bundle, "1/2", &["--inferer#overlap", "0.5"]).status.success());
    let lists = bundle.run(&["merge-runs", "out"]);
    let log = text(&lists.stderr);
    assert!(log.contains("part 1 of 2 was made from another list of cases than part 0 of 2"), "{log}");
    assert!(part(&bundle, "0/2", &[]).status.success());
    let configs = bundle.run(&["merge-runs", "out"]);
    let log = text(&configs.stderr);
    assert!(configs.status.success() && log.contains("part 1 of 2 was computed with another config"), "{log}");
    assert!(part(&bundle, "0/3", &[]).status.success());
    let divisions = bundle.run(&["merge-runs", "out"]);
    let log = text(&divisions.stderr);
    assert!(log.contains("a division into 2 parts and of one into 3"), "{log}");
}

#[test]
fn an_array_job_gives_the_part() {
    let bundle = Bundle::new(0);
    // Of equal size.
    (0..3).for_each(|case| bundle.image(&format!("images/s{case:04}.nii.gz"), 0));
    let run = |part: &str, task: &str| {
        let arguments = [&["--part", part], &RUN[..]].concat();
        bundle.command(&arguments).env("SLURM_ARRAY_TASK_ID", task).output().unwrap()
    };
    let output = run("auto/2", "1");
    let log = text(&output.stderr);
    assert!(output.status.success() && log.contains("part 1 of 2: 1 of 3 cases"), "{log}");
    assert_eq!(read(&bundle, "out/run.part-1-of-2.json")["counts"]["total"], 1);
    let output = run("auto/2", "2");
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("2 parts need an array of tasks from 0 to 1"), "{log}");
    // More parts than cases.
    let output = run("3/4", "1");
    let log = text(&output.stderr);
    assert!(output.status.success() && log.contains("part 3 of 4: 0 of 3 cases"), "{log}");
    let explained = bundle.run(&[&["--part", "1/2", "explain"], &RUN[1..]].concat());
    assert!(text(&explained.stdout).contains("1 case:"), "{}", text(&explained.stdout));
}

#[test]
fn metrics_are_not_computed_from_a_part() {
    let bundle = Bundle::new(2);
    let metric = "{'val_mean_dice': {'_target_': 'MeanDice', 'include_background': False, \
                  'output_transform': '$monai.handlers.from_engine([\"pred\", \"label\"])'}}";
    let output = part(&bundle, "0/2", &["--evaluator#key_val_metric", metric]);
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("metrics need the predictions of all cases"), "{log}");
}
