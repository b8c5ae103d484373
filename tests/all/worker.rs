//! `segbundle worker`: requests and answers as JSON lines.

use crate::common::{Bundle, text};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const CONFIG: [&str; 4] = ["--config_file", "configs/inference.json", "--meta_file", "None"];

struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(bundle: &Bundle, options: &[&str], more: &[&str]) -> Worker {
        let arguments = [options, &["worker"], &CONFIG[..], more].concat();
        // A background job's children ignore SIGINT unless it is given back to them.
        let mut child = Command::new("env")
            .args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_segbundle")])
            .args(arguments)
            .current_dir(bundle.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (requests, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Worker { child, requests, answers }
    }
    fn send(&mut self, line: &str) {
        writeln!(self.requests.as_ref().unwrap(), "{line}").unwrap();
    }
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no answer but {line:?}: {}", self.log()))
    }
    fn ask(&mut self, request: &Value) -> Value {
        self.send(&request.to_string());
        self.answer()
    }
    fn log(&mut self) -> String {
        self.requests = None;
        let mut log = vec![];
        self.child.stderr.take().unwrap().read_to_end(&mut log).unwrap();
        text(&log)
    }
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }
}

#[test]
fn requests_are_answered_one_by_one_and_errors_are_answers() {
    let bundle = Bundle::new(2);
    bundle.image("$print('no').nii.gz", 3);
    assert!(bundle.infer(&["--output_dir", "whole"]).status.success());
    let print = "['$monai.utils.set_determinism(seed=1)', '$print(7)']";
    let mut worker = Worker::start(&bundle, &[], &["--initialize", print]);
    let first = worker.ask(&json!({"id": "a", "image": "images/s0000.nii.gz"}));
    assert_eq!(
        (&first["id"], &first["status"], &first["error"]),
        (&json!("a"), &json!("done"), &Value::Null),
        "{first}"
    );
    assert_eq!(first["outputs"], json!(["out/s0000/s0000_trans.nii.gz"]));
    assert!(first["seconds"].as_f64().unwrap() > 0.0, "{first}");
    let missing = worker.ask(&json!({"id": 2, "image": "images/none.nii.gz"}));
    assert_eq!((&missing["id"], &missing["status"]), (&json!(2), &json!("failed")));
    assert_eq!(missing["error"]["file"], "images/none.nii.gz", "{missing}");
    for (line, id, message) in [
        ("not json", Value::Null, "request in line 3: expected an object"),
        ("{\"id\": [4], \"images\": 1}", json!([4]), "request in line 4: expected an object: unknown field `images`"),
        ("{\"id\": 5, \"image\": {\"label\": \"x\"}}", json!(5), "request in line 5: expected a path under `image`"),
    ] {
        worker.send(line);
        let answer = worker.answer();
        assert_eq!((&answer["id"], &answer["status"]), (&id, &json!("failed")));
        assert!(answer["error"]["message"].as_str().unwrap().starts_with(message), "{answer}");
    }
    // A name is not an expression, and a case may have a folder of its own.
    let other = json!({"id": 6, "image": {"image": "$print('no').nii.gz", "age": 3}, "output_dir": "mine/deep"});
    let other = worker.ask(&other);
    let expected = "mine/deep/$print('no')/$print('no')_trans.nii.gz";
    assert_eq!((&other["status"], &other["outputs"]), (&json!("done"), &json!([expected])), "{other}");
    let second = worker.ask(&json!({"image": "images/s0001.nii.gz"}));
    assert_eq!((&second["id"], &second["status"]), (&Value::Null, &json!("done")), "{second}");
    worker.requests = None;
    let mut rest = String::new();
    worker.answers.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(worker.child.wait().unwrap().success());
    assert!(worker.log().lines().any(|line| line == "7"));

    for case in ["s0000", "s0001"] {
        let labels =
            |folder: &str| std::fs::read(bundle.path(&format!("{folder}/{case}/{case}_trans.nii.gz"))).unwrap();
        assert!(labels("out") == labels("whole"), "{case}");
    }
    assert!(bundle.path(&format!("{expected}.json")).exists());
    assert!(!bundle.path("out/run.json").exists());

    // Results of other workers and of runs count.
    let mut worker = Worker::start(&bundle, &["--skip-existing"], &["--output_dir", "whole"]);
    assert_eq!(worker.ask(&json!({"image": "images/s0000.nii.gz"}))["status"], "skipped");
    worker.log();
}

#[test]
fn a_signal_ends_an_idle_worker_and_one_in_a_case_after_the_window() {
    let bundle = Bundle::new(1);
    let mut idle = Worker::start(&bundle, &[], &[]);
    assert_eq!(idle.ask(&json!({"id": 1, "image": "images/s0000.nii.gz"}))["status"], "done");
    idle.signal("TERM");
    assert_eq!(idle.child.wait().unwrap().code(), Some(143));

    // Windows of several seconds each.
    let slow = ["--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"];
    let mut worker = Worker::start(&bundle, &[], &slow);
    worker.send(&json!({"id": 1, "image": "images/s0000.nii.gz"}).to_string());
    let mut log = BufReader::new(worker.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("[1/1] images/s0000.nii.gz") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the worker ended");
    }
    worker.signal("TERM");
    let answer = worker.answer();
    assert!(answer["status"] == "interrupted" || answer["status"] == "done", "{answer}");
    assert_eq!(worker.child.wait().unwrap().code(), Some(143));
}
