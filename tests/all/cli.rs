//! The program as a user runs it: exit codes, messages, files.

use crate::common::{Bundle, program, results, text};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Voxels};

#[test]
fn a_run_writes_a_label_map_on_the_grid_of_each_input() {
    let bundle = Bundle::new(2);
    let output = bundle.infer(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(results(&bundle.path("out")), ["s0000_trans.nii.gz", "s0001_trans.nii.gz"]);
    let (image, labels) = (
        nifti::read(bundle.path("images/s0001.nii.gz")).unwrap(),
        nifti::read(bundle.path("out/s0001/s0001_trans.nii.gz")).unwrap(),
    );
    assert_eq!(labels.grid(), image.grid());
    let Voxels::U8(labels) = labels.voxels else { panic!("expected labels in u8") };
    let classes: std::collections::BTreeSet<u8> = labels.iter().copied().collect();
    assert!(classes.len() > 1 && classes.iter().all(|class| *class < 4), "{classes:?}");
    let log = text(&output.stderr);
    let stages = ["++ Latencies => Total: ", "; Pre: ", "; Inferer: ", "; Invert: ", "; Post: ", "; Write: "];
    assert!(stages.iter().all(|stage| log.contains(stage)), "{log}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let (one, two) = (Bundle::new(1), Bundle::new(1));
    assert!(one.infer(&[]).status.success() && two.infer(&["--dataloader#num_workers", "0"]).status.success());
    let read = |bundle: &Bundle| std::fs::read(bundle.path("out/s0000/s0000_trans.nii.gz")).unwrap();
    assert_eq!(read(&one), read(&two));
}

#[test]
fn one_bad_case_is_reported_and_the_others_go_on() {
    let bundle = Bundle::new(3);
    std::fs::write(bundle.path("images/s0001.nii.gz"), b"this is no image").unwrap();
    let output = bundle.infer(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(results(&bundle.path("out")), ["s0000_trans.nii.gz", "s0002_trans.nii.gz"]);
    let log = text(&output.stderr);
    assert!(log.contains("images/s0001.nii.gz") && log.contains("1 of 3 cases failed"), "{log}");
}

#[test]
fn inputs_of_the_same_name_are_kept_apart_by_their_folders() {
    let bundle = Bundle::new(0);
    bundle.image("images/a/ct.nii.gz", 1);
    bundle.image("images/b/ct.nii.gz", 2);
    let list = ["--datalist", "['images/a/ct.nii.gz','images/b/ct.nii.gz']"];
    let output = bundle.infer(&list);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(log.matches("several inputs have the same name").count(), 1, "{log}");
    let made = [bundle.path("out/a/ct/ct_trans.nii.gz"), bundle.path("out/b/ct/ct_trans.nii.gz")];
    let bytes = made.each_ref().map(|path| std::fs::read(path).unwrap());
    assert_ne!(bytes[0], bytes[1]);
    // As with data_root_dir.
    std::fs::remove_dir_all(bundle.path("out")).unwrap();
    let output = bundle.infer(&[&list[..], &["--data_root_dir", "images"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("several inputs have the same name"));
    assert_eq!(bytes, made.each_ref().map(|path| std::fs::read(path).unwrap()));
}

#[test]
fn one_input_named_twice_is_an_error_before_the_network_runs() {
    let bundle = Bundle::new(0);
    bundle.image("images/a/ct.nii.gz", 1);
    let output = bundle.infer(&["--datalist", "['images/a/ct.nii.gz','images/a/ct.nii.gz']"]);
    assert_eq!(output.status.code(), Some(2));
    let log = text(&output.stderr);
    assert!(log.contains("out/ct/ct_trans.nii.gz") && log.contains("data_root_dir"), "{log}");
}

#[test]
fn a_preprocessing_can_save_images() {
    let bundle = Bundle::new(1);
    let config = std::fs::read_to_string(bundle.path("configs/inference.json")).unwrap();
    let before = r#""nonzero": true}]},"#;
    assert!(config.contains(before));
    let save = r#"{"_target_": "SaveImaged", "keys": "image", "output_dir": "@output_dir", "output_postfix": "pre"}"#;
    let config = config.replace(before, &format!(r#""nonzero": true}}, {save}]}},"#));
    std::fs::write(bundle.path("configs/inference.json"), config).unwrap();
    let output = bundle.infer(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let saved = nifti::read(bundle.path("out/s0000/s0000_pre.nii.gz")).unwrap();
    let case = &bundle.record()["cases"][0];
    let shape: Vec<u64> = saved.layout.shape.iter().map(|&n| n as u64).collect();
    assert_eq!(case["network_shape"], serde_json::json!(shape));
    assert_eq!(case["outputs"], serde_json::json!(["out/s0000/s0000_trans.nii.gz", "out/s0000/s0000_pre.nii.gz"]));
    // It is one of the case's results.
    let again = ["--skip-existing", "run", "--config_file", "configs/inference.json", "--meta_file", "None"];
    assert!(bundle.run(&again).status.success());
    assert_eq!(bundle.record()["cases"][0]["status"], "skipped");
    std::fs::remove_file(bundle.path("out/s0000/s0000_pre.nii.gz")).unwrap();
    assert!(bundle.run(&again).status.success());
    assert_eq!(bundle.record()["cases"][0]["status"], "done");
    assert!(bundle.path("out/s0000/s0000_pre.nii.gz").exists());
}

#[test]
fn a_missing_checkpoint_names_the_path_and_where_to_get_it() {
    let bundle = Bundle::new(1);
    let output = bundle.infer(&["--load_pretrain", "True"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("models/model.pt"), "{}", text(&output.stderr));
    let list = "large_files:\n- path: models/model.pt\n  url: https://example.org/model.pt\n  hash_val: abc123\n  hash_type: md5\n";
    std::fs::write(bundle.path("large_files.yml"), list).unwrap();
    let log = text(&bundle.infer(&["--load_pretrain", "True"]).stderr);
    assert!(log.contains("https://example.org/model.pt (md5 abc123)"), "{log}");
}

#[test]
fn a_config_that_cannot_run_is_exit_code_2_with_file_and_id() {
    let bundle = Bundle::new(1);
    let output = bundle.infer(&["--inferer#overlapp", "0.5"]);
    assert_eq!(output.status.code(), Some(2));
    let log = text(&output.stderr);
    assert!(
        log.contains("SlidingWindowInferer has no argument `overlapp`") && log.contains("did you mean `overlap`"),
        "{log}"
    );
    let output = bundle.infer(&["--datalist", "[]"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the datalist is empty"), "{}", text(&output.stderr));
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_with_the_override_that_helps() {
    let bundle = Bundle::new(1);
    let output = bundle.infer(&["--device", "$torch.device('cuda:99')"]);
    assert_ne!(output.status.code(), Some(0));
    let log = text(&output.stderr);
    assert!(log.contains("cuda:99") && log.contains("`--device cpu`"), "{log}");
}

#[test]
fn verify_reports_all_problems_and_runs_nothing() {
    let bundle = Bundle::new(1);
    let output = bundle.run(&[
        "verify",
        "--config_file",
        "configs/inference.json",
        "--inferer#overlapp",
        "0.5",
        "--preprocessing#transforms#0#_target_",
        "LoadImagd",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let report = text(&output.stdout);
    assert!(report.contains("did you mean `overlap`") && report.contains("did you mean `LoadImaged`"), "{report}");
    assert!(!bundle.path("out").exists());
    let output = bundle.run(&["verify", "--config_file", "configs/inference.json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("SaveImaged"), "{}", text(&output.stdout));
}

#[test]
fn components_describes_one_and_finds_near_names() {
    let bundle = Bundle::new(0);
    let output = bundle.run(&["components", "SlidingWindowInferer"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("overlap: float or list of float = 0.25"), "{}", text(&output.stdout));
    let output = bundle.run(&["components", "SlidingWindowInfere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `SlidingWindowInferer`"), "{}", text(&output.stderr));
}

#[test]
fn usage_mistakes_are_exit_code_2() {
    let bundle = Bundle::new(0);
    assert_eq!(bundle.run(&["walk"]).status.code(), Some(2));
    assert_eq!(bundle.run(&["run"]).status.code(), Some(2));
    assert_eq!(bundle.run(&["run", "--config_file", "missing.json"]).status.code(), Some(2));
}

/// The words, and part of what is said once, before any case.
#[test]
fn a_config_that_cannot_be_built_is_exit_code_2() {
    let bundle = Bundle::new(2);
    let transform = "--preprocessing#transforms#";
    let table: [(&[&str], &str); 9] = [
        (&["--postprocessing#transforms#3#output_ext", ".nrrd"], ".nrrd"),
        (&[&format!("{transform}3#pixdim"), "[]"], "`pixdim` is empty"),
        (&[&format!("{transform}2#axcodes"), "XYZ"], "expected one of L, R, P, A, I, S, found `X`"),
        (&[&format!("{transform}2#axcodes"), "RAR"], "axcodes"),
        (&["--inferer#overlap", "1.0"], "overlap is 1, expected at least 0 and below 1"),
        (&["--inferer#roi_size", "[]"], "`roi_size` has 0 values"),
        (&["--inferer#roi_size", "[16,16]"], "`roi_size` has 2 values"),
        (&["--inferer#sigma_scale", "[0.1,0.1]"], "`sigma_scale` has 2 values"),
        (&["--inferer#sw_batch_size", "0"], "sw_batch_size is 0"),
    ];
    for (words, message) in table {
        let output = bundle.infer(words);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {log}");
        assert!(
            log.contains(message) && log.matches("error").count() == 1 && !log.contains("[1/2]"),
            "{words:?}: {log}"
        );
    }
}

#[test]
fn a_datalist_that_is_one_file_s_name_is_told_from_a_list() {
    let bundle = Bundle::new(1);
    let output = bundle.infer(&["--datalist", "images/s0000.nii.gz"]);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(
        log.contains(
            "error: `datalist`: expected a list, found str 'images/s0000.nii.gz'\n  --> command line, datalist"
        ) && log.contains("hint: write a list with one item: --datalist \"['images/s0000.nii.gz']\"")
            && log.matches("error").count() == 1,
        "{log}"
    );
    let listed = bundle.infer(&["--datalist", "['images/s0000.nii.gz']"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
}

#[test]
fn options_without_effect_are_warned_of() {
    let bundle = Bundle::new(1);
    let config = ["--config_file", "configs/inference.json", "--meta_file", "None", "--evaluator#amp", "False"];
    let run = |options: &[&str], command: &str| {
        let output = bundle.run(&[options, &[command], &config].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let log = run(&["--resume", "--save-minutes", "3", "--amp-dtype", "bfloat16"], "run");
    for option in ["--resume", "--save-minutes", "--amp-dtype"] {
        assert_eq!(log.matches(&format!("`{option}` has no effect on SupervisedEvaluator")).count(), 1, "{log}");
    }
    assert!(run(&["--threads", "1"], "verify").contains("`--threads` has no effect on `verify`"));
    assert!(!run(&["--log-format", "json"], "verify").contains("no effect"));
    assert!(!run(&["--skip-existing", "--threads", "1"], "run").contains("no effect"));
    let series = ["statistics", "images/s0000.nii.gz", "--image", "images/s0000.nii.gz", "--series", "2"];
    let output = bundle.run(&series);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("expected a folder of DICOM slices"));
}

#[test]
fn json_lines_have_the_parts_of_a_message_as_fields() {
    let bundle = Bundle::new(1);
    std::fs::write(bundle.path("images/s0001.nii.gz"), "no image").unwrap();
    let arguments = ["--config_file", "configs/inference.json", "--logging_file", "False"];
    let output = bundle.run(&[&["--log-format", "json", "run"], &arguments[..]].concat());
    let lines: Vec<serde_json::Value> = text(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let with = |field: &str, value: &str| lines.iter().find(|line| line[field] == value).unwrap();
    let failed = with("status", "failed");
    assert_eq!((&failed["case"], &failed["index"]), (&"images/s0001.nii.gz".into(), &2.into()));
    assert!(failed["location"] == "images/s0001.nii.gz" && !failed["message"].as_str().unwrap().contains("-->"));
    let done = with("status", "done");
    assert!(
        done["seconds"].as_f64().unwrap() > 0.0
            && done["outputs"] == serde_json::json!(["out/s0000/s0000_trans.nii.gz"]),
        "{done}"
    );
    let last = lines.last().unwrap();
    assert!(last["location"].as_str().unwrap().ends_with(", run::0") && last["expression"].is_string(), "{last}");
}

#[test]
fn a_case_without_output_files_names_none() {
    let bundle = Bundle::new(1);
    let overrides = ["--evaluator#postprocessing", "$None", "--logging_file", "False"];
    let run = |options: &[&str]| {
        let output = bundle.run(&[options, &["run", "--config_file", "configs/inference.json"], &overrides].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let json = run(&["--log-format", "json"]);
    assert!(json.contains("[1/1] images/s0000.nii.gz: done") && !json.contains("\"outputs\""), "{json}");
    assert!(!run(&[]).contains("->"));
}

#[test]
fn verbose_logs_the_time_of_transforms_before_and_after_the_network() {
    let bundle = Bundle::new(1);
    let output = bundle.run(&["-v", "run", "--config_file", "configs/inference.json", "--logging_file", "False"]);
    let log = text(&output.stderr);
    for name in ["NormalizeIntensityd", "AsDiscreted", "SaveImaged"] {
        let times = log.lines().filter_map(|line| line.split_once(&format!(" {name}: ")).map(|(_, time)| time));
        assert_eq!(times.filter(|time| time.ends_with(" ms") || time.ends_with(" s")).count(), 1, "{name}: {log}");
    }
}

#[test]
fn tools_refuse_what_they_cannot_do_before_they_read() {
    let bundle = Bundle::new(1);
    let image = "images/s0000.nii.gz";
    let table: [(&[&str], &str); 5] = [
        (&["preview", image, "--image", image, "--window", "5", "5"], "a lower and a higher value"),
        (&["preview", image, "--image", image, "--output", "x.jpg"], "expected a .png file as output, found `x.jpg`"),
        (&["statistics", image, "--output", "x.xlsx"], "expected a .csv or .json file as output, found `x.xlsx`"),
        (&["sample-data", "--output_dir", "made", "--size", "0"], "size"),
        (&["sample-data", "--output_dir", "made", "--spacing", "0"], "spacing"),
    ];
    for (words, message) in table {
        let output = bundle.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(message), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn an_image_in_place_of_a_label_map_is_refused_without_a_warning_of_names() {
    let bundle = Bundle::new(1);
    let names = r#"{"network_data_format": {"outputs": {"pred": {"channel_def": {"1": "liver"}}}}}"#;
    std::fs::write(bundle.path("names.json"), names).unwrap();
    let image = "images/s0000.nii.gz";
    for words in [
        &["statistics", image, "--meta_file", "names.json"][..],
        &["split-labels", image, "--meta_file", "names.json"],
        &["preview", image, "--image", image, "--meta_file", "names.json"],
    ] {
        let output = bundle.run(words);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {log}");
        assert!(log.contains("whole numbers from 0, found -") && !log.contains("without a name"), "{words:?}: {log}");
    }
    assert!(!bundle.path("segmentations").exists() && !bundle.path("preview.png").exists());
}

#[test]
fn masks_are_not_written_with_the_names_of_another_label_map() {
    let bundle = Bundle::new(0);
    let write = |values: [u8; 4]| {
        let layout = Layout::contiguous([1, 4, 1, 1]);
        let voxels = Voxels::U8(values.to_vec().into());
        let options = nifti::Options::default();
        nifti::write(bundle.path("labels.nii.gz"), &voxels, &layout, &Affine::IDENTITY, DType::U8, options).unwrap();
    };
    let names = r#"{"network_data_format": {"outputs": {"pred": {"channel_def": {"1": "liver", "2": "spleen"}}}}}"#;
    std::fs::write(bundle.path("names.json"), names).unwrap();
    let split = |more: &[&str]| {
        let _ = std::fs::remove_dir_all(bundle.path("segmentations"));
        let output = bundle.run(&[&["split-labels", "labels.nii.gz", "--meta_file", "names.json"], more].concat());
        (output.status.code(), text(&output.stderr), bundle.path("segmentations").exists())
    };
    write([0, 1, 2, 7]);
    let (code, log, written) = split(&[]);
    assert!(code == Some(2) && log.contains("found 1 label without a name, the first is 7") && !written, "{log}");
    let (code, log, written) = split(&["--structures", "liver"]);
    assert!(code == Some(0) && log.contains("1 label without a name") && written, "{log}");
    write([0, 5, 6, 7]);
    let (code, log, written) = split(&["--structures", "liver"]);
    assert!(code == Some(2) && log.contains("3 labels and none of these names") && !written, "{log}");
    write([0, 0, 1, 1]);
    assert!(split(&[]).2);
}

#[test]
fn sample_data_takes_a_number_of_cases_and_one_or_three_sizes() {
    let bundle = Bundle::new(0);
    let small = ["sample-data", "--output_dir", "made", "--cases", "5", "--spacing", "20", "--size"];
    let output = bundle.run(&[&small[..], &["10"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not patient data"), "{}", text(&output.stderr));
    let mut expected: Vec<String> = (37..42).chain(37..42).map(|number| format!("s{number:04}.nii.gz")).collect();
    expected.sort();
    assert_eq!(results(&bundle.path("made")), expected);
    let one = ["sample-data", "--output_dir", "one", "--cases", "1", "--spacing", "20", "--size", "10"];
    let output = bundle.run(&one);
    assert!(text(&output.stderr).contains("the only case is for training"), "{}", text(&output.stderr));
    assert_eq!(results(&bundle.path("one")), ["s0037.nii.gz", "s0037.nii.gz"]);
    let output = bundle.run(&[&small[..], &["10", "12"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected one number or three, found 2"), "{}", text(&output.stderr));
}

#[test]
fn a_reader_of_standard_output_that_has_gone_is_no_error() {
    let bundle = Bundle::new(1);
    for words in [&["components"][..], &["run", "--help"], &["verify", "--config_file", "configs/inference.json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bundle.command(words).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?} {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("roken pipe"), "{words:?} {}", text(&output.stderr));
    }
}

#[test]
fn a_datalist_that_is_no_list_comes_with_the_way_to_write_it() {
    let bundle = Bundle::new(2);
    std::fs::create_dir(bundle.path("empty")).unwrap();
    let glob = "list the files: --datalist \"\\$sorted(glob.glob('images/*.nii.gz'))\"";
    for (given, hint) in [
        ("[/a,b/c]", "quote the items of the list: --datalist \"['/a','b/c']\""),
        ("images/*.nii.gz", glob),
        ("images", "a list with one item"),
        ("./images", &glob.replace("images", "./images")),
        ("['images/*.nii.gz']", "list the files: $sorted(glob.glob('images/*.nii.gz'))"),
        ("['images']", "list the files in the folder: $sorted(glob.glob('images/*.nii.gz'))"),
    ] {
        let output = bundle.infer(&["--datalist", given]);
        let log = text(&output.stderr);
        assert!(!output.status.success() && (log.contains(hint) || log.contains(glob)), "{given}: {log}");
    }
}

#[test]
fn a_wrong_override_of_an_item_that_others_refer_to_is_placed_at_the_command_line() {
    let bundle = Bundle::new(1);
    for (key, value) in [("output_dir", "[1]"), ("inferer#overlap", "3")] {
        let output = bundle.infer(&[&format!("--{key}"), value]);
        let (log, id) = (text(&output.stderr), key.replace('#', "::"));
        assert_eq!(output.status.code(), Some(2), "{log}");
        assert!(log.contains(&format!("\n  --> command line, {id}\n")), "{log}");
    }
}

#[test]
fn an_expression_that_fails_with_a_value_of_the_command_line_names_it() {
    let bundle = Bundle::new(1);
    let output = bundle.infer(&["--dataset_dir", "5", "--datalist", "$sorted(glob.glob(@dataset_dir))"]);
    let log = text(&output.stderr);
    assert!(!output.status.success() && log.contains("expected str or Path, found int 5"), "{log}");
    assert!(log.contains("hint: the command line gives --dataset_dir = 5"), "{log}");
}

#[test]
fn a_missing_data_folder_is_told_from_an_empty_one() {
    let bundle = Bundle::new(1);
    std::fs::create_dir(bundle.path("empty")).unwrap();
    for (folder, message) in [
        ("absent", "error: `dataset_dir`: the folder absent does not exist\n  --> command line, dataset_dir\n"),
        ("empty", "error: there are no cases: the datalist is empty\n  --> configs/inference.json:16, dataset::data\n"),
    ] {
        let list = "$sorted(glob.glob(@dataset_dir + '/*.nii.gz'))";
        let output = bundle.infer(&["--dataset_dir", folder, "--datalist", list]);
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(2) && log.contains(message), "{log}");
        assert!(log.contains("hint: ") && !log.contains("--bundle_root"), "{log}");
    }
}

#[test]
fn items_that_another_config_file_defines_are_one_error_that_names_it() {
    let bundle = Bundle::new(1);
    std::fs::write(bundle.path("configs/train.json"), r#"{"validate": {}}"#).unwrap();
    let alone = r#"{"validate#one": 1, "validate#two": 2, "run": ["$@validate#evaluator.run()"]}"#;
    std::fs::write(bundle.path("configs/evaluate.json"), alone).unwrap();
    let output = bundle.run(&["run", "--config_file", "configs/evaluate.json", "--meta_file", "None"]);
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.matches("error: ").count() == 1, "{log}");
    assert!(log.contains("hint: `validate` is in configs/train.json: name the files together"), "{log}");
}

#[test]
fn a_repeated_verbose_option_is_one() {
    let output = Bundle::new(0).run(&["-vv", "components", "Spacingd"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn replaced_sample_data_are_reported() {
    let bundle = Bundle::new(0);
    let write = || text(&bundle.run(&["sample-data", "--output_dir", "d", "--cases", "2", "--size", "24"]).stderr);
    assert!(!write().contains("replaced"));
    assert!(write().contains("replaced 2 cases of the same name"));
}

#[test]
fn a_misspelled_config_file_comes_with_the_similar_one() {
    let bundle = Bundle::new(0);
    std::fs::copy(bundle.path("configs/inference.json"), bundle.path("configs/train.json")).unwrap();
    for (given, near) in [
        ("configs/inferense.json", Some("configs/inference.json")),
        ("configs/inference.jsn", Some("configs/inference.json")),
        ("config/inference.json", Some("configs/inference.json")),
        ("['configs/inference.json','train.json']", Some("configs/train.json")),
        // The similar file is one of those given.
        ("['configs/inference.json','configs/inference2.json']", None),
    ] {
        let output = bundle.run(&["run", "--config_file", given]);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{given}: {log}");
        assert!(log.contains("cannot find the config file `"), "{given}: {log}");
        match near {
            Some(near) => assert!(log.contains(&format!("hint: did you mean `{near}`?")), "{given}: {log}"),
            None => assert!(!log.contains("did you mean"), "{given}: {log}"),
        }
    }
}

#[test]
fn usage_and_log_lines_are_alike_for_all_commands_and_names_of_the_program() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let output = program(folder.path()).arg0("/somewhere/other").arg("walk").output().unwrap();
    assert!(text(&output.stderr).contains("Usage: segbundle "), "{}", text(&output.stderr));
    let output = program(folder.path()).args(["--threads", "2", "classes"]).output().unwrap();
    let log = text(&output.stderr);
    let (time, rest) = log.split_at(log.find(" WARNING ").unwrap_or_else(|| panic!("{log}")));
    assert_eq!(rest, " WARNING segbundle.cli: `--threads` has no effect on `classes`\n");
    assert!(time.len() == 23 && time.as_bytes()[19] == b',', "{log}");
}
