//! `segbundle launch`, and inference that ranks share.

use crate::common::{Bundle, results, text};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RUN: [&str; 5] = ["run", "--config_file", "configs/inference.json", "--meta_file", "None"];

fn launch(bundle: &Bundle, ranks: &str, options: &[&str], command: &[&str]) -> Output {
    let arguments = [&["launch", "--nproc-per-node", ranks], options, &["--"], command].concat();
    bundle.command(&arguments).env_remove("OMP_NUM_THREADS").output().unwrap()
}

/// Statuses of the cases in run.json.
fn statuses(bundle: &Bundle) -> Vec<String> {
    let record = bundle.record();
    record["cases"].as_array().unwrap().iter().map(|case| case["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ranks_know_each_other_and_their_lines_are_told_apart() {
    let bundle = Bundle::new(0);
    let print = "$print(os.getenv('RANK'), os.getenv('LOCAL_RANK'), os.getenv('WORLD_SIZE'), \
                 os.getenv('LOCAL_WORLD_SIZE'), os.getenv('OMP_NUM_THREADS'), os.getenv('MASTER_ADDR'))";
    let run = format!("[{print:?}]");
    let command = [
        &RUN[..],
        &["--imports", "['$import os', '$import numpy', '$import glob']", "--initialize", "[]"],
        &["--run", &run],
    ]
    .concat();
    let output = launch(&bundle, "2", &["--nnodes", "2", "--node-rank", "1", "--master-addr", "10.0.0.7"], &command);
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["[rank 2] 2 0 4 2 1 10.0.0.7", "[rank 3] 3 1 4 2 1 10.0.0.7"], "{}", text(&output.stderr));
    assert!(output.status.success());
}

#[test]
fn a_failure_of_one_rank_ends_the_others_and_is_shown_last() {
    let bundle = Bundle::new(1);
    let output = launch(&bundle, "2", &["--max-restarts", "1"], &["run", "--config_file", "none.json"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    let last = log.rsplit_once("error: rank ").unwrap().1;
    assert!(
        last.contains(" failed with exit code 2:") && last.contains("none.json") && !log.contains("started again"),
        "{log}"
    );

    // Rank 1 fails while rank 0 is in a window of several seconds.
    let fails = "$torch.load('none.pt') if os.getenv('RANK') == '1' else None";
    let slow = ["--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"];
    let imports = ["--imports", "['$import os', '$import numpy', '$import glob', '$import torch']"];
    let initialize = format!("[{fails:?}]");
    let command = [&RUN[..], &slow, &imports, &["--initialize", &initialize]].concat();
    let start = Instant::now();
    let output = launch(&bundle, "2", &["--max-restarts", "1"], &command);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("all ranks are started again with --resume --skip-existing (1 of 1 restart)"), "{log}");
    assert!(log.rsplit_once("error: rank 1 failed with exit code 1").unwrap().1.contains("none.pt"), "{log}");
    assert!(start.elapsed() < Duration::from_secs(90));
}

#[test]
fn a_signal_is_forwarded_to_the_ranks() {
    let bundle = Bundle::new(2);
    let slow = ["--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"];
    let arguments = [&["launch", "--nproc-per-node", "2", "--"], &RUN[..], &slow].concat();
    let mut child = Command::new("env")
        .args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_segbundle")])
        .args(arguments)
        .current_dir(bundle.0.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut log, mut line) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    let mut started = 0;
    while started < 2 {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the ranks ended");
        started += usize::from(line.contains("/2] images/s000"));
    }
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = log.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{rest:?}");
    assert_eq!(rest.iter().filter(|line| line.contains("stopping after this window")).count(), 2, "{rest:?}");
}

#[test]
fn ranks_share_the_cases_and_a_dead_rank_leaves_its_own_to_the_next_start() {
    const CASES: usize = 7;
    let bundle = Bundle::new(CASES);
    assert!(bundle.infer(&["--output_dir", "whole"]).status.success());
    let output = launch(&bundle, "3", &[], &RUN);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(statuses(&bundle), ["done"; CASES]);
    assert_eq!(
        (bundle.record()["status"].clone(), bundle.record()["counts"]["total"].clone()),
        ("done".into(), CASES.into())
    );
    assert_eq!(results(&bundle.path("out")), results(&bundle.path("whole")));

    // A rank by itself, as if the others had died: its cases are done, the others are left.
    std::fs::remove_dir_all(bundle.path("out")).unwrap();
    let alone = bundle.command(&RUN).env("RANK", "1").env("WORLD_SIZE", "3").output().unwrap();
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    let own = statuses(&bundle).len();
    assert!((1..CASES).contains(&own), "{own}");
    assert_eq!(bundle.record()["status"], "interrupted");
    let output = launch(&bundle, "3", &[], &[&["--skip-existing"], &RUN[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut found = statuses(&bundle);
    found.sort();
    assert_eq!(found, [vec!["done"; CASES - own], vec!["skipped"; own]].concat());
    for case in 0..CASES {
        let labels =
            |folder: &str| std::fs::read(bundle.path(&format!("{folder}/s{case:04}/s{case:04}_trans.nii.gz"))).unwrap();
        assert!(labels("out") == labels("whole"), "{case}");
    }

    // A single process with RANK set, such as in a container, is not a rank.
    let single = bundle.command(&RUN).env("RANK", "0").env("WORLD_SIZE", "1").output().unwrap();
    assert!(single.status.success() && statuses(&bundle).len() == CASES, "{}", text(&single.stderr));
    let wrong = bundle.command(&RUN).env("RANK", "3").env("WORLD_SIZE", "3").output().unwrap();
    let log = text(&wrong.stderr);
    assert!(
        wrong.status.code() == Some(2) && log.contains("RANK and WORLD_SIZE: expected a part from 0 to 2"),
        "{log}"
    );
    let both =
        bundle.command(&[&["--part", "0/2"], &RUN[..]].concat()).env("RANK", "1").env("WORLD_SIZE", "3").output();
    let log = text(&both.unwrap().stderr);
    assert!(log.contains("`--part` cannot be divided further among 3 ranks"), "{log}");
}

#[test]
fn a_failed_case_of_one_rank_does_not_keep_the_others_from_theirs() {
    let bundle = Bundle::new(4);
    std::fs::write(bundle.path("images/s0001.nii.gz"), b"this is no image").unwrap();
    let output = launch(&bundle, "2", &[], &RUN);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert_eq!(statuses(&bundle), ["done", "failed", "done", "done"], "{log}");
    assert_eq!(bundle.record()["status"], "failed");
}
