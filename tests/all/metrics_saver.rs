//! MetricsSaver: the files of MONAI's write_metrics_reports (tests/data/make_reports.py), byte for byte, and an evaluation.

use crate::common::{Bundle, text};
use crate::handlers::{dict, function, handler, state};
use crate::npz;
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{Event, MetricDetails, Score};
use segbundle::formats::nifti;
use segbundle::image::{DType, Voxels};
use segbundle::metrics::SummaryOp;
use std::sync::Arc;

#[test]
fn values_by_case_and_their_summary_are_written_as_monai_writes_them() {
    let data = npz::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reports.npz")).unwrap();
    let ops = ["mean", "median", "max", "min", "90percentile", "std", "notnans", "5percentile"];
    let ops: Vec<SummaryOp> = ops.iter().map(|op| SummaryOp::from_value(&(*op).into()).unwrap()).collect();
    let names: Vec<&str> = data.keys().filter_map(|name| name.strip_suffix("/rows")).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let rows = &data[&format!("{name}/rows")];
        let rows: Vec<Vec<f32>> = rows.f32().chunks(rows.shape[1]).map(<[f32]>::to_vec).collect();
        let cases: Vec<String> = (0..rows.len()).map(|case| format!("case {case}")).collect();
        let details = MetricDetails { rows, ..MetricDetails::default() };
        for (kind, found) in [("raw", details.raw_csv(&cases, ",")), ("summary", details.summary_csv(&ops, ","))] {
            let expected = text(&data[&format!("{name}/{kind}")].u8());
            for (found, expected) in found.lines().zip(expected.lines()) {
                assert_eq!(found, expected, "{name} {kind}");
            }
            assert_eq!(found, expected, "{name} {kind}");
        }
    }
}

/// `str(value)` of what MONAI stores in `engine.state.metrics`; a metric with labels is stored by label and as a dict.
#[test]
fn metrics_of_every_kind_are_written_as_python_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    let saver = handler("MetricsSaver", &[("save_dir", folder.path().to_str().unwrap().into())]);
    let mut engine = state(1, 3, Score::Number(0.941_176_474_094_390_9));
    engine.metrics.insert("by_channel".into(), Score::Numbers(vec![0.5, f64::NAN]));
    engine.metrics.insert("by_label".into(), Score::Named(vec![("label_1".into(), 0.6667), ("label_2".into(), 0.0)]));
    saver.on(Event::EpochCompleted, &engine).unwrap();
    let written = std::fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
    assert_eq!(
        written,
        "dice,0.9411764740943909\nby_channel,tensor([0.5000,    nan])\nlabel_1,0.6667\nlabel_2,0.0\n\
         by_label,{'label_1': 0.6667, 'label_2': 0.0}\n"
    );
}

#[test]
fn cases_are_named_by_a_list_or_a_dict_of_metadata() {
    let image = |name: &str| dict(vec![("filename_or_obj", name.into())]);
    let transforms: [fn(&str) -> Value; 3] = [
        |name| Value::list([dict(vec![("filename_or_obj", name.into())])]),
        |name| dict(vec![("filename_or_obj", Value::list([name.into()]))]),
        |_| Value::list([dict(vec![])]),
    ];
    for (transform, expected) in transforms.into_iter().zip(["a.nii.gz", "a.nii.gz", "None"]) {
        let folder = tempfile::tempdir().unwrap();
        let args = [
            ("save_dir", Value::from(folder.path().to_str().unwrap())),
            ("metric_details", "dice".into()),
            ("batch_transform", function(move |_| transform("a.nii.gz"))),
            ("delimiter", "\t".into()),
        ];
        let saver = handler("MetricsSaver", &args);
        let mut engine = state(1, 1, Score::Number(0.5));
        engine.output = vec![image("a.nii.gz")];
        saver.on(Event::Started, &engine).unwrap();
        saver.on(Event::IterationCompleted, &engine).unwrap();
        let details = MetricDetails { rows: vec![vec![0.5, f32::NAN]], first_channel: 1, ..MetricDetails::default() };
        engine.metric_details.insert("dice".into(), Arc::new(details));
        saver.on(Event::EpochCompleted, &engine).unwrap();
        let written = std::fs::read_to_string(folder.path().join("dice_raw.csv")).unwrap();
        assert_eq!(written, format!("filename\tclass0\tclass1\tmean\n{expected}\t0.5\tnan\t0.5\n"));
    }
}

/// Changes inference.json to an evaluation of its cases.
const EVALUATE: &str = r#"{
    "preprocessing#transforms#0#keys": ["image", "label"],
    "preprocessing#transforms#1#keys": ["image", "label"],
    "preprocessing#transforms#2#keys": ["image", "label"],
    "preprocessing#transforms#3#keys": ["image", "label"],
    "preprocessing#transforms#3#mode": ["bilinear", "nearest"],
    "dataset#data": "$[{'image': i, 'label': i.replace('images', 'labels')} for i in @datalist]",
    "postprocessing#transforms#1": {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [true, false],
                                    "to_onehot": 4},
    "postprocessing#transforms#2": {"_target_": "Invertd", "keys": ["pred", "label"], "transform": "@preprocessing",
                                    "orig_keys": "image", "nearest_interp": true},
    "evaluator#key_val_metric": {"val_mean_dice": {"_target_": "MeanDice", "include_background": false,
        "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}},
    "evaluator#val_handlers": [{"_target_": "MetricsSaver", "save_dir": "@output_dir", "metric_details": "*",
        "batch_transform": "$lambda x: [xx['image'].meta for xx in x]", "summary_ops": "*"}]
}"#;

const METADATA: &str = r#"{
    "version": "0.1.0", "monai_version": "1.6.1", "pytorch_version": "2.11.0", "numpy_version": "2.4.6", "task": "t",
    "description": "d", "authors": "a", "copyright": "c",
    "network_data_format": {"outputs": {"pred": {"channel_def":
        {"0": "background", "1": "spleen", "2": "liver", "3": "aorta"}}}}
}"#;

/// A bundle with an evaluation of two cases with labels 0 to 2.
fn evaluation() -> Bundle {
    let bundle = Bundle::new(2);
    std::fs::write(bundle.path("configs/evaluate.json"), EVALUATE).unwrap();
    std::fs::write(bundle.path("configs/metadata.json"), METADATA).unwrap();
    for case in ["s0000", "s0001"] {
        label(&bundle, case, 3, 0.0);
    }
    bundle
}

/// Writes the label of a case with `classes` values, shifted by `shift_mm` along x.
fn label(bundle: &Bundle, case: &str, classes: usize, shift_mm: f64) {
    let mut image = nifti::read(bundle.path(&format!("images/{case}.nii.gz"))).unwrap();
    let labels: Vec<u8> = (0..image.voxels.len()).map(|at| (at % classes) as u8).collect();
    image.affine.0[0][3] += shift_mm;
    let path = bundle.path(&format!("labels/{case}.nii.gz"));
    let labels = Voxels::U8(labels.into());
    nifti::write(path, &labels, &image.layout, &image.affine, DType::U8, nifti::Options::default()).unwrap();
}

const EVALUATION: [&str; 3] = ["run", "--config_file", "['configs/inference.json','configs/evaluate.json']"];

#[test]
fn a_label_that_does_not_fit_fails_its_case_and_the_others_are_evaluated() {
    let bundle = evaluation();
    for (classes, shift_mm, message) in [
        (3, 40.0, "the label labels/s0000.nii.gz is not aligned with the image images/s0000.nii.gz"),
        (6, 0.0, "AsDiscreted: to_onehot=4 does not fit labels from 0 to 5"),
    ] {
        label(&bundle, "s0000", classes, shift_mm);
        let output = bundle.run(&EVALUATION);
        let (log, record) = (text(&output.stderr), bundle.record());
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(record["cases"][0]["status"] == "failed" && record["cases"][1]["status"] == "done", "{record}");
        let error = &record["cases"][0]["error"];
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert!(shift_mm > 0.0 || error["file"] == "labels/s0000.nii.gz", "{error}");
        assert!(log.contains("val_mean_dice by structure"), "{log}");
    }
}

#[test]
fn labels_paired_with_images_of_other_cases_are_reported() {
    let bundle = evaluation();
    // As `zip` pairs sorted lists, of which the second lacks its first file.
    let data = "$[{'image': i, 'label': l} for i, l in zip(@datalist, ['labels/s0001.nii.gz'])]";
    let files = EVALUATION[2];
    let output = bundle.run(&["run", "--config_file", files, "--dataset#data", data]);
    let log = text(&output.stderr);
    assert!(log.contains("zip() pairs lists of 2 and 1 items"), "{log}");
    let data = "$[{'image': i, 'label': l} for i, l in zip(@datalist, ['labels/s0001.nii.gz', 'labels/s0000.nii.gz'])]";
    let output = bundle.run(&["run", "--config_file", files, "--dataset#data", data]);
    let expected = "2 of 2 labels have the file name of another case's image: labels/s0001.nii.gz is paired with \
                    images/s0000.nii.gz";
    assert!(output.status.success() && text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    let output = bundle.run(&["verify", "--config_file", files, "--dataset#data", data]);
    assert!(!output.status.success() && text(&output.stdout).contains(expected), "{}", text(&output.stdout));
}

#[test]
fn an_evaluation_that_saves_no_images_has_a_record_beside_its_metrics() {
    let bundle = evaluation();
    let output = bundle.run(&[&EVALUATION[..], &["--postprocessing#transforms#3#_disabled_", "True"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record = bundle.record();
    assert!(record["status"] == "done" && record["counts"]["done"] == 2, "{record}");
    assert!(bundle.path("out/metrics.csv").exists() && !bundle.path("out/s0000").exists());
}

#[test]
fn an_evaluation_writes_its_metrics_with_the_names_of_the_structures() {
    // The aorta is absent.
    let bundle = evaluation();
    let files = EVALUATION[2];
    let output = bundle.run(&EVALUATION);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("val_mean_dice by structure") && log.contains("without a value: aorta"), "{log}");
    let read = |name: &str| std::fs::read_to_string(bundle.path(name)).unwrap();
    let raw = read("out/val_mean_dice_raw.csv");
    let firsts: Vec<&str> = raw.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(firsts, ["filename", "images/s0000.nii.gz", "images/s0001.nii.gz"]);
    assert!(read("out/metrics.csv").starts_with("val_mean_dice,0."));
    assert!(read("out/val_mean_dice_summary.csv").contains("\nclass2,nan,nan,nan,nan,nan,nan,0.0000\n"));
    let by_structure = read("out/metrics_by_structure.csv");
    let structures: Vec<String> =
        by_structure.lines().map(|line| line.split(',').take(4).collect::<Vec<_>>().join(",")).collect();
    let expected = [
        "metric,label,structure,cases",
        "val_mean_dice,1,spleen,2",
        "val_mean_dice,2,liver,2",
        "val_mean_dice,3,aorta,0",
    ];
    assert_eq!(structures, expected);
    // Metrics need all cases: nothing is skipped, although the results are there.
    std::fs::remove_file(bundle.path("out/val_mean_dice_raw.csv")).unwrap();
    let output = bundle.run(&["--skip-existing", "run", "--config_file", files]);
    assert!(text(&output.stderr).contains("`--skip-existing` has no effect"), "{}", text(&output.stderr));
    assert_eq!(read("out/val_mean_dice_raw.csv"), raw);
    let record = bundle.record();
    assert!(record["cases"].as_array().unwrap().iter().all(|case| case["status"] == "done"), "{record}");
    // A name that selects nothing is reported; a folder that cannot be written before the cases are computed.
    let missing = "evaluator#val_handlers#0#metrics";
    let output = bundle.run(&["run", "--config_file", files, &format!("--{missing}"), "['val_acc']"]);
    assert!(text(&output.stderr).contains("`val_acc` is not among the metrics of the engine (val_mean_dice)"));
    let output =
        bundle.run(&["run", "--config_file", files, "--evaluator#val_handlers#0#save_dir", "configs/evaluate.json/x"]);
    assert!(!output.status.success() && !text(&output.stderr).contains("s0000"), "{}", text(&output.stderr));
}

#[test]
fn values_by_case_are_a_tensor_of_the_engine_s_state() {
    let bundle = evaluation();
    let print = "$print('Dice:', @evaluator.state.metric_details['val_mean_dice'].cpu().numpy().shape)";
    let run = format!("['$@evaluator.run()', \"{print}\"]");
    let output = bundle.run(&[&EVALUATION[..], &["--run", &run]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Dice: (2, 3)\n"), "{}", text(&output.stdout));
    // No engine has run in `verify`.
    let output = bundle.run(&["verify", "--config_file", EVALUATION[2], "--run", &run]);
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn the_table_of_distances_starts_with_the_highest() {
    let bundle = Bundle::new(2);
    std::fs::write(bundle.path("configs/evaluate.json"), EVALUATE).unwrap();
    std::fs::write(bundle.path("configs/metadata.json"), METADATA).unwrap();
    for case in ["s0000", "s0001"] {
        let image = nifti::read(bundle.path(&format!("images/{case}.nii.gz"))).unwrap();
        // Spleen and liver in slabs that no untrained network finds.
        let count = image.voxels.len();
        let labels: Vec<u8> = (0..count).map(|at| if at < 40 { 1 } else { u8::from(at > count / 2) * 2 }).collect();
        let path = bundle.path(&format!("labels/{case}.nii.gz"));
        let labels = Voxels::U8(labels.into());
        nifti::write(path, &labels, &image.layout, &image.affine, DType::U8, nifti::Options::default()).unwrap();
    }
    let metric = "{'val_hausdorff': {'_target_': 'HausdorffDistance', 'output_transform': \
                  \"$monai.handlers.from_engine(['pred', 'label'])\"}}";
    let files = "['configs/inference.json','configs/evaluate.json']";
    let output = bundle.run(&["run", "--config_file", files, "--evaluator#additional_metrics", metric]);
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    let table =
        log.split("val_hausdorff by structure in voxels, highest first").nth(1).unwrap_or_else(|| panic!("{log}"));
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("  "));
    let means: Vec<f64> = rows.filter_map(|row| row.split_whitespace().nth(2)?.parse().ok()).collect();
    assert!(means.len() >= 2 && means.is_sorted_by(|a, b| a >= b), "{log}");
    assert!(log.matches("some structures are in the label but not in the prediction").count() <= 1, "{log}");
    let csv = std::fs::read_to_string(bundle.path("out/val_hausdorff_raw.csv")).unwrap();
    assert_eq!(csv.lines().next(), Some("filename,class0,class1,class2,mean"));
}

#[test]
fn infinite_distances_are_counted_by_structure_and_left_out_of_its_mean() {
    let folder = tempfile::tempdir().unwrap();
    let args = [("save_dir", Value::from(folder.path().to_str().unwrap())), ("metric_details", "distance".into())];
    let saver = handler("MetricsSaver", &args);
    let mut engine = state(1, 2, Score::Number(f64::INFINITY));
    let rows = vec![vec![1.0, f32::INFINITY, f32::INFINITY], vec![2.0, 4.0, f32::INFINITY]];
    let details =
        MetricDetails { rows, first_channel: 1, lower_is_better: true, unit: Some("voxels"), infinite: vec![0, 1, 2] };
    engine.metric_details.insert("distance".into(), Arc::new(details));
    saver.on(Event::EpochCompleted, &engine).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        read("metrics_by_structure.csv"),
        "metric,label,structure,cases,mean,median,min,max,better,infinite,unit\n\
         distance,1,label_1,2,1.5,1.5,1.0,2.0,lower,0,voxels\n\
         distance,2,label_2,1,4.0,4.0,4.0,4.0,lower,1,voxels\n\
         distance,3,label_3,0,,,,,lower,2,voxels\n"
    );
    // MONAI's table keeps the infinite values.
    assert!(read("distance_raw.csv").contains("1.0,inf,inf,inf\n"), "{}", read("distance_raw.csv"));
}
