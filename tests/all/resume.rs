//! Stopping and going on: `--skip-existing`, interrupts, and the record of a run.

use crate::common::{Bundle, results, text};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RUN: [&str; 5] = ["run", "--config_file", "configs/inference.json", "--meta_file", "None"];

fn again(bundle: &Bundle, more: &[&str]) -> (Output, String) {
    let output = bundle.run(&[&["--skip-existing"], &RUN[..], more].concat());
    let log = text(&output.stderr);
    (output, log)
}

fn statuses(record: &Value) -> Vec<&str> {
    record["cases"].as_array().unwrap().iter().map(|case| case["status"].as_str().unwrap()).collect()
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn the_record_says_what_ran_and_how_each_case_ended() {
    let bundle = Bundle::new(3);
    std::fs::write(bundle.path("images/s0001.nii.gz"), b"this is no image").unwrap();
    assert_eq!(bundle.infer(&["--inferer#overlap", "0.5"]).status.code(), Some(1));
    let record = bundle.record();
    assert_eq!(statuses(&record), ["done", "failed", "done"]);
    assert_eq!((record["status"].as_str(), record["device"].as_str()), (Some("failed"), Some("cpu")));
    assert_eq!(record["counts"]["done"], 2);
    assert_eq!((&record["counts"]["failed"], &record["counts"]["not_started"]), (&1.into(), &0.into()));
    assert!(record["libtorch"].as_str().unwrap().starts_with("2."), "{record}");
    // Values stand in place of the expressions that gave them.
    let config = &record["config"];
    assert_eq!(config["datalist"][2], "images/s0002.nii.gz");
    assert_eq!(
        (&config["inferer"]["overlap"], &config["dataset"]["data"][0]["image"]),
        (&0.5.into(), &"images/s0000.nii.gz".into())
    );
    let good = &record["cases"][0];
    assert_eq!(good["outputs"][0], "out/s0000/s0000_trans.nii.gz");
    assert_eq!(
        (&good["input_shape"], &good["network_shape"]),
        (&serde_json::json!([1, 20, 22, 18]), &serde_json::json!([1, 14, 15, 12]))
    );
    assert_eq!(good["network_spacing_mm"], serde_json::json!([3.0, 3.0, 3.0]));
    assert!(good["windows"].as_u64() == Some(1) && good["seconds"]["inferer"].as_f64().unwrap() > 0.0, "{good}");
    assert!(good["peak_memory_bytes"].as_u64().unwrap() > 10 << 20, "{good}");
    assert_eq!(record["cases"][1]["error"]["file"], "images/s0001.nii.gz");
}

/// Waits until a file exists, for at most a minute.
fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Panics;

impl segbundle::contracts::Observer for Panics {
    fn case_finished(&self, _report: &segbundle::contracts::CaseReport) {
        panic!("no place to report to");
    }
}

#[test]
fn a_panic_of_the_writer_thread_ends_the_run_with_an_error() {
    use segbundle::contracts::{RunContext, RunOptions};
    let bundle = Bundle::new(2);
    let path = |name: &str| bundle.path(name).display().to_string();
    let images = format!("['{}','{}']", path("images/s0000.nii.gz"), path("images/s0001.nii.gz"));
    let (config, out) = (path("configs/inference.json"), path("out"));
    let argv = ["--config_file", &config, "--meta_file", "None", "--logging_file", "False", "--datalist", &images]
        .into_iter()
        .chain(["--output_dir", &out])
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let args = segbundle::bundle::RunArgs::parse(&argv, crate::bundle::NO_RULES).unwrap();
    let plan = segbundle::bundle::Plan::prepare(&args, segbundle::registry::table()).unwrap();
    let run = RunContext { observer: std::sync::Arc::new(Panics), ..RunContext::new(RunOptions::default()) };
    let error = segbundle::workflow::run(plan, Some(run.into()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no place to report to"), "{error}");
}

/// A skipped case would not draw its random numbers, and all later cases would differ.
#[test]
fn no_case_is_skipped_if_the_dataset_has_random_transforms() {
    let bundle = Bundle::new(2);
    let random = ["--preprocessing#transforms#4", "{'_target_':'RandGaussianNoised','keys':'image','prob':1.0}"];
    assert!(bundle.infer(&random).status.success());
    let (output, log) = again(&bundle, &random);
    assert!(output.status.success() && log.contains("computed again: its dataset has random transforms"), "{log}");
    assert_eq!(statuses(&bundle.record()), ["done"; 2]);
}

#[test]
fn a_case_is_computed_again_if_a_tensor_in_the_config_was_read_from_a_changed_file() {
    let bundle = Bundle::new(1);
    let path = bundle.path("configs/inference.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let before = r#""nonzero": true"#;
    assert!(config.contains(before));
    let after = r#""subtrahend": "$torch.load('norm.pt')['mean']", "divisor": 1.0"#;
    std::fs::write(&path, config.replace(before, after)).unwrap();
    let save = |mean: f32| {
        segbundle::checkpoint::save(bundle.path("norm.pt"), &[("mean".to_owned(), tch::Tensor::from(mean))]).unwrap()
    };
    save(0.5);
    let output = bundle.infer(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    again(&bundle, &[]);
    assert_eq!(statuses(&bundle.record()), ["skipped"]);
    save(1.5);
    again(&bundle, &[]);
    assert_eq!(statuses(&bundle.record()), ["done"]);
}

#[test]
fn a_case_is_left_out_only_while_everything_it_was_made_from_is_the_same() {
    let bundle = Bundle::new(3);
    assert!(bundle.infer(&[]).status.success());
    let result = |case: usize| bundle.path(&format!("out/s{case:04}/s{case:04}_trans.nii.gz"));
    let before = modified(&result(0));
    let bytes = std::fs::read(result(1)).unwrap();
    let (output, log) = again(&bundle, &[]);
    assert!(output.status.success(), "{log}");
    assert_eq!(statuses(&bundle.record()), ["skipped"; 3]);
    assert_eq!((modified(&result(0)), bundle.record()["cases"][1]["windows"].as_u64()), (before, Some(1)));

    // Another input, a result that was changed, one that is gone.
    bundle.image("images/s0000.nii.gz", 77);
    std::fs::write(result(1), b"half").unwrap();
    std::fs::remove_file(result(2)).unwrap();
    let (output, log) = again(&bundle, &[]);
    assert!(output.status.success(), "{log}");
    for why in [
        "the input has changed",
        "s0001_trans.nii.gz has changed since it was written",
        "s0002_trans.nii.gz is missing",
    ] {
        assert!(log.contains(why), "expected \"{why}\" in {log}");
    }
    assert_eq!(std::fs::read(result(1)).unwrap(), bytes);
    assert_eq!(statuses(&bundle.record()), ["done"; 3]);

    // A longer list and another place of the results change nothing; what the results depend on does.
    bundle.image("images/s0003.nii.gz", 4);
    let (_, log) = again(&bundle, &["--dataloader#num_workers", "2"]);
    assert_eq!(statuses(&bundle.record()), ["skipped", "skipped", "skipped", "done"], "{log}");
    std::fs::rename(bundle.path("out"), bundle.path("elsewhere")).unwrap();
    let (_, log) = again(&bundle, &["--output_dir", "elsewhere"]);
    assert_eq!(log.matches("skipped, its result exists").count(), 4, "{log}");
    let (_, log) = again(&bundle, &["--output_dir", "elsewhere", "--inferer#overlap", "0.5"]);
    assert_eq!(log.matches("the config has changed").count(), 4, "{log}");
    let seed = [
        "--output_dir",
        "elsewhere",
        "--inferer#overlap",
        "0.5",
        "--initialize",
        "['$monai.utils.set_determinism(seed=2)']",
    ];
    let (_, log) = again(&bundle, &seed);
    assert_eq!(log.matches("the network's weights have changed").count(), 4, "{log}");
}

/// What an argument says of itself in its declaration decides: caching and loading change no result, a window's overlap
/// does.
#[test]
fn arguments_that_results_do_not_depend_on_leave_a_case_finished() {
    let bundle = Bundle::new(2);
    let parts = ["--dataset#_target_", "CacheDataset", "--dataloader#_target_", "ThreadDataLoader"];
    assert!(bundle.infer(&parts).status.success());
    let fast = [
        &parts[..],
        &["--dataset#cache_rate", "0.5", "--dataset#cache_num", "1", "--dataset#num_workers", "2"],
        &["--dataset#progress", "False", "--dataset#copy_cache", "False", "--dataset#runtime_cache", "True"],
        &["--dataloader#buffer_size", "3", "--dataloader#buffer_timeout", "1.0", "--dataloader#num_workers", "1"],
        &["--dataloader#batch_size", "2", "--dataloader#pin_memory", "True"],
    ]
    .concat();
    let (output, log) = again(&bundle, &fast);
    assert!(output.status.success(), "{log}");
    assert_eq!(statuses(&bundle.record()), ["skipped"; 2], "{log}");
    let (_, log) = again(&bundle, &[&fast[..], &["--inferer#overlap", "0.5"]].concat());
    assert_eq!(log.matches("the config has changed").count(), 2, "{log}");
}

#[test]
fn a_result_is_not_kept_when_voxels_beside_their_header_change() {
    let bundle = Bundle::new(0);
    std::fs::create_dir(bundle.path("images")).unwrap();
    let header = "ObjectType = Image\nNDims = 3\nDimSize = 20 22 18\nElementSpacing = 2 2 2\nElementType = MET_SHORT\n";
    std::fs::write(bundle.path("images/a.mhd"), format!("{header}ElementDataFile = voxels.dat\n")).unwrap();
    let voxels: Vec<u8> = (0..20 * 22 * 18).flat_map(|i: i32| ((i * 37 % 1500 - 900) as i16).to_le_bytes()).collect();
    std::fs::write(bundle.path("images/voxels.dat"), &voxels).unwrap();
    let list = ["--datalist", "['images/a.mhd']"];
    assert!(bundle.infer(&list).status.success());
    again(&bundle, &list);
    assert_eq!(statuses(&bundle.record()), ["skipped"]);
    std::fs::write(bundle.path("images/voxels.dat"), voxels.iter().rev().copied().collect::<Vec<u8>>()).unwrap();
    let (_, log) = again(&bundle, &list);
    assert!(log.contains("the input has changed"), "{log}");
}

/// The bundle's config with our transforms after its last, their files in the same folder.
fn with_our_transforms(bundle: &Bundle) {
    let path = bundle.path("configs/inference.json");
    let last = r#""data_root_dir": "@data_root_dir"}"#;
    let common = r#""keys": "pred", "names": ["background", "a", "b", "c"], "output_dir": "@output_dir", "data_root_dir": "@data_root_dir""#;
    let ours = format!(
        r#"{last}, {{"_target_": "segbundle.transforms.SaveLabelsd", {common}, "output_postfix": "labels", "separate": true}},
        {{"_target_": "segbundle.transforms.SaveStatisticsd", {common}}}, {{"_target_": "segbundle.transforms.SavePreviewd", {common}}}"#
    );
    let config = std::fs::read_to_string(&path).unwrap();
    assert_eq!(config.matches(last).count(), 1);
    std::fs::write(path, config.replace(last, &ours)).unwrap();
}

#[test]
fn each_file_of_a_result_has_to_be_there_as_it_was_written() {
    let bundle = Bundle::new(1);
    with_our_transforms(&bundle);
    assert!(bundle.infer(&[]).status.success());
    let (_, log) = again(&bundle, &[]);
    assert!(log.contains("skipped, its result exists"), "{log}");
    for name in ["s0000/s0000_statistics.json", "s0000/segmentations/b.nii.gz", "labels.ctbl", "labels.itksnap.txt"] {
        let path = bundle.path("out").join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"half").unwrap();
        let (_, log) = again(&bundle, &[]);
        assert!(log.contains(&format!("out/{name} has changed since it was written")), "{name}: {log}");
        assert_eq!(std::fs::read(&path).unwrap(), good, "{name}");
        std::fs::remove_file(&path).unwrap();
        let (_, log) = again(&bundle, &[]);
        assert!(log.contains(&format!("out/{name} is missing")) && path.exists(), "{name}: {log}");
    }
}

#[test]
fn a_moved_output_folder_keeps_its_results_and_the_record_says_where_they_are() {
    let bundle = Bundle::new(1);
    with_our_transforms(&bundle);
    assert!(bundle.infer(&[]).status.success());
    let before = bundle.record()["cases"][0]["outputs"].clone();
    assert!(before.as_array().unwrap().contains(&"out/labels.ctbl".into()), "{before}");
    std::fs::create_dir(bundle.path("far")).unwrap();
    std::fs::rename(bundle.path("out"), bundle.path("far/away")).unwrap();
    let (_, log) = again(&bundle, &["--output_dir", "far/away"]);
    assert!(log.contains("skipped, its result exists"), "{log}");
    let record: Value = serde_json::from_slice(&std::fs::read(bundle.path("far/away/run.json")).unwrap()).unwrap();
    let moved: Vec<String> =
        before.as_array().unwrap().iter().map(|path| path.as_str().unwrap().replacen("out", "far/away", 1)).collect();
    assert_eq!(record["cases"][0]["outputs"], serde_json::json!(moved));
}

#[test]
fn a_tilde_in_the_datalist_is_the_home_folder() {
    let bundle = Bundle::new(1);
    let words =
        [&["--skip-existing"], &RUN[..], &["--datalist", "['~/images/s0000.nii.gz']", "--data_root_dir", "."]].concat();
    for status in ["done", "skipped"] {
        let output = bundle.command(&words).env("HOME", bundle.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(statuses(&bundle.record()), [status]);
    }
    assert!(bundle.path("out/images/s0000/s0000_trans.nii.gz").is_file());
    assert_eq!(bundle.record()["cases"][0]["input"], "~/images/s0000.nii.gz");
}

#[test]
fn results_without_a_record_are_made_again_and_the_log_says_so() {
    let bundle = Bundle::new(1);
    assert!(bundle.infer(&[]).status.success());
    std::fs::remove_file(bundle.path("out/s0000/s0000_trans.nii.gz.json")).unwrap();
    let (_, log) = again(&bundle, &[]);
    assert!(log.contains("out/s0000/s0000_trans.nii.gz has no record of its inputs"), "{log}");
    std::fs::write(bundle.path("out/s0000/s0000_trans.nii.gz.json"), "{").unwrap();
    let (_, log) = again(&bundle, &[]);
    assert!(log.contains("is not valid JSON"), "{log}");
}

#[test]
fn interrupts_stop_with_the_code_of_their_signal_and_keep_what_is_finished() {
    const CASES: usize = 500;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let bundle = Bundle::new(1);
        // So many that no machine is through before the signal comes.
        for case in 1..CASES {
            std::fs::hard_link(bundle.path("images/s0000.nii.gz"), bundle.path(&format!("images/s{case:04}.nii.gz")))
                .unwrap();
        }
        // A background job's children ignore SIGINT unless it is given back to them.
        let mut child = Command::new("env")
            .args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_segbundle")])
            .args(RUN)
            .current_dir(bundle.0.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(&bundle.path("out/s0003"));
        signals_reach_one_thread(child.id());
        // Twice, as `timeout` signals a process and then its group: that is one interrupt.
        for _ in 0..2 {
            assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let record = bundle.record();
        assert_eq!(record["status"], "interrupted");
        let done = statuses(&record).iter().filter(|status| **status == "done").count();
        assert!((3..CASES).contains(&done), "{done} done");
        assert_eq!(
            record["counts"]["not_started"].as_u64().unwrap() as usize,
            CASES - record["cases"].as_array().unwrap().len()
        );
        // The lock of the folder is gone, too.
        let written = results(&bundle.path("out"));
        assert!(written.len() == done && written.iter().all(|name| name.ends_with("_trans.nii.gz")), "{written:?}");
    }
}

#[test]
fn a_second_interrupt_exits_within_a_window_and_the_record_says_interrupted() {
    let bundle = Bundle::new(1);
    let mut child = Command::new("env")
        .args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_segbundle")])
        .args(RUN)
        // One window of several seconds.
        .args(["--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"])
        .current_dir(bundle.0.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&bundle.path("out/run.json"));
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(1200));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(bundle.record()["status"], "interrupted");
    assert!(!bundle.path("out/run.lock").exists());
}

#[test]
fn a_second_run_in_an_output_folder_is_refused_until_the_first_has_ended() {
    let bundle = Bundle::new(1);
    let slow = ["--inferer#roi_size", "[160,160,160]", "--network_def#init_filters", "32"];
    let mut first = bundle.command(&[&RUN[..], &slow].concat()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&bundle.path("out/run.json"));
    let record = std::fs::read(bundle.path("out/run.json")).unwrap();
    let second = bundle.infer(&[]);
    let log = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("another run writes to out: process {} on ", first.id())), "{log}");
    assert_eq!(std::fs::read(bundle.path("out/run.json")).unwrap(), record);
    // Commands that only read are not affected.
    let verified = bundle.run(&[&["verify"], &RUN[1..]].concat());
    assert!(verified.status.success(), "{}", text(&verified.stderr));

    // A killed run leaves its lock.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(bundle.path("out/run.lock").exists());
    let third = bundle.infer(&[]);
    let log = text(&third.stderr);
    assert!(third.status.success() && log.contains("took over out/run.lock of process "), "{log}");
    assert!(!bundle.path("out/run.lock").exists());
}

/// Handled on a thread that computes, a signal would be written over the heap: generated code uses the stack pointer.
fn signals_reach_one_thread(process: u32) {
    let caught = (1u64 << (signal_hook::consts::SIGINT - 1)) | (1 << (signal_hook::consts::SIGTERM - 1));
    let (mut open, mut blocked) = (vec![], 0);
    for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten() {
        // A thread that has just ended has no status.
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (Some(name), Some(mask)) = (field("Name:"), field("SigBlk:")) else { continue };
        match u64::from_str_radix(mask, 16).unwrap() & caught {
            0 => open.push(name.to_owned()),
            mask => blocked += usize::from(mask == caught),
        }
    }
    assert!(open == ["signals"] && blocked > 1, "{open:?} get signals, {blocked} do not");
}

#[test]
fn half_written_files_of_a_killed_run_are_cleared_away() {
    let bundle = Bundle::new(1);
    std::fs::create_dir_all(bundle.path("out/s0000")).unwrap();
    // Of this machine, by a process number that is in use but began at another time.
    let own = segbundle::env::this_process();
    let left = |start: u64| {
        bundle.path(&format!("out/s0000/.partial-{:08x}-{}-{start}-0-s0000_trans.nii.gz", own.host, own.pid))
    };
    let (stale, living) = (left(own.start_ticks + 1), left(own.start_ticks));
    std::fs::write(&stale, "half").unwrap();
    std::fs::write(&living, "half").unwrap();
    let output = bundle.infer(&[]);
    assert!(
        output.status.success() && text(&output.stderr).contains("removed 1 half-written"),
        "{}",
        text(&output.stderr)
    );
    assert!(!stale.exists() && living.exists());

    // Also beside the masks of a case.
    with_our_transforms(&bundle);
    let stale = bundle.path(&format!(
        "out/s0000/segmentations/.partial-{:08x}-{}-{}-0-a.nii.gz",
        own.host,
        own.pid,
        own.start_ticks + 1
    ));
    std::fs::create_dir_all(stale.parent().unwrap()).unwrap();
    std::fs::write(&stale, "half").unwrap();
    assert!(bundle.infer(&[]).status.success() && !stale.exists());
}

#[test]
fn logs_can_be_json() {
    let bundle = Bundle::new(1);
    std::fs::write(bundle.path("images/bad.nii.gz"), b"").unwrap();
    let output = bundle.run(&[&["--log-format", "json"], &RUN[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("bad.nii.gz")),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line["timestamp"].is_string()), "{lines:?}");
}

#[test]
fn the_root_level_of_logging_conf_counts_unless_the_command_line_says_otherwise() {
    let bundle = Bundle::new(1);
    let conf = "[loggers]\nkeys=root\n[handlers]\nkeys=console\n[formatters]\nkeys=\n\n[logger_root]\nlevel = WARNING\nhandlers=console\n\n[handler_console]\nclass=StreamHandler\nlevel=DEBUG\nargs=(sys.stderr,)\n";
    std::fs::write(bundle.path("configs/logging.conf"), conf).unwrap();
    let log = |options: &[&str], more: &[&str]| text(&bundle.run(&[options, &RUN[..], more].concat()).stderr);
    assert!(!log(&[], &[]).contains("INFO"));
    assert!(log(&[], &["--logging_file", "False"]).contains("s0000_trans.nii.gz"));
    assert!(log(&["-v"], &[]).contains("computing with"));
}
