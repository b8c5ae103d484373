//! `segbundle report`: pages about output folders.

use crate::common::{Bundle, program, text};
use segbundle::formats::tfevents::EventWriter;
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).unwrap();
}

/// Writes the report of a folder and returns the page and the log.
fn page(folder: &Path, more: &[&str]) -> (String, String) {
    let output = program(folder).args(["report", "."]).args(more).output().unwrap();
    let log = text(&output.stderr);
    assert!(output.status.success(), "{log}");
    (std::fs::read_to_string(folder.join("report.html")).unwrap(), log)
}

/// The outputs of an evaluation of two structures.
fn evaluation() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "metrics.csv", "val_mean_dice\t0.8765432\nval_accuracy\t0.99\n");
    let table = "metric,label,structure,cases,mean,median,min,max,better\n\
        val_mean_dice,1,spleen,2,0.9,0.9,0.8,1.0,higher\nval_mean_dice,2,liver,1,0.4,0.4,0.4,0.4,higher\nval_mean_dice,3,aorta,0,,,,,higher\n\
        hausdorff,1,spleen,2,3.5,3.5,3,4,lower\nhausdorff,2,liver,1,20,20,20,20,lower\n";
    write(folder.path(), "metrics_by_structure.csv", table);
    write(folder.path(), "val_mean_dice_raw.csv", "filename,class0,class1,mean\na.nii.gz,0.8,0.4,0.6\n");
    folder
}

#[test]
fn metrics_are_listed_by_structure_worst_first() {
    let folder = evaluation();
    let (page, _) = page(folder.path(), &[]);
    assert!(page.contains("0.8765") && page.contains("val_mean_dice by structure"));
    let at = |text: &str, from: usize| from + page[from..].find(text).unwrap();
    let dice = at("val_mean_dice by structure", 0);
    let hausdorff = at("hausdorff by structure", dice);
    assert!(at("liver", dice) < at("spleen", dice) && at("liver", hausdorff) < at("spleen", hausdorff));
    assert!(!page.contains("aorta"));
}

#[test]
fn infinite_distances_are_counted_beside_the_mean_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "metrics.csv", "val_distance\tinf\nval_hausdorff\t2.5\n");
    let table = "metric,label,structure,cases,mean,median,min,max,better,infinite,unit\n\
        val_distance,1,spleen,2,3.5,3.5,3,4,lower,0,voxels\nval_distance,2,liver,1,1.5,1.5,1.5,1.5,lower,2,voxels\n\
        val_distance,3,aorta,0,,,,,lower,3,voxels\nval_distance,4,colon,0,,,,,lower,0,voxels\n\
        val_hausdorff,1,spleen,1,2.5,2.5,2.5,2.5,lower,1,voxels\n";
    write(folder.path(), "metrics_by_structure.csv", table);
    let (page, _) = page(folder.path(), &[]);
    for part in [
        "infinite <span class=\"dim\">because of 5 infinite distances of 2 structures</span>",
        "2.5000 voxels <span class=\"dim\">without 1 infinite distance of 1 structure</span>",
        "val_distance by structure, in voxels",
        "finite mean (voxels)",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // A structure without any finite distance is the worst; colon has no distance at all.
    let rows: Vec<&str> = page.lines().filter(|line| line.contains("class=\"key\"")).collect();
    let names = ["aorta", "spleen", "liver", "spleen"];
    assert!(rows.len() == 4 && rows.iter().zip(names).all(|(row, name)| row.contains(name)), "{rows:?}");
    let hatched: Vec<bool> = rows.iter().map(|row| row.contains("<div class=\"infinite\">")).collect();
    assert_eq!(hatched, [true, false, true, true]);
    assert!(rows[0].contains("<td class=\"n\">–</td>") && rows[0].ends_with("failed\">3</td></tr>"), "{}", rows[0]);
    // A table without infinite distances has no such column.
    assert!(!self::page(evaluation().path(), &[]).0.contains("infinite</th>"));
}

#[test]
fn curves_of_a_training_are_drawn_without_scripts_or_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(folder.path(), None).unwrap();
    for step in 1..=300 {
        events.scalars(step, [("train_loss", 5.0 / step as f32)]).unwrap();
    }
    let mut later = EventWriter::create(folder.path(), None).unwrap();
    later.scalars(5, [("val_mean_dice", 0.5), ("<b>odd</b>", f32::NAN)]).unwrap();
    let bytes = std::fs::read(later.path()).unwrap();
    std::fs::write(later.path(), &bytes[..bytes.len() - 1]).unwrap();
    let (page, log) = page(folder.path(), &[]);
    assert_eq!(page.matches("<svg").count(), 2, "{log}");
    assert!(page.contains("train_loss") && page.contains("val_mean_dice") && !page.contains("<b>odd"));
    assert!(log.contains("the end of the file is missing or damaged"), "{log}");
    for outside in ["<script", "http", "src=\"/", "@import", "url("] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
    }
}

#[test]
fn names_from_files_are_escaped() {
    let folder = evaluation();
    let evil = "<script>alert(1)</script>\" onerror=\"x";
    let case = |status: &str, error: serde_json::Value| {
        json!({"index": 0, "status": status, "input": evil, "outputs": [], "windows": 0, "input_shape": [1, 3, 4, 5],
               "seconds": {"total": 1.5}, "peak_memory_bytes": 1 << 30, "error": error})
    };
    let error = json!({"message": evil, "file": evil, "hint": evil});
    let run = json!({"status": "failed", "counts": {"total": 2, "done": 1, "failed": 1, "skipped": 0}, "device": evil,
                     "segbundle": evil, "libtorch": "2.11", "config": {"key": evil},
                     "cases": [case("done", json!(null)), case("failed", error)]});
    write(folder.path(), "run.json", &run.to_string());
    write(folder.path(), "metrics.csv", &format!("{evil}\t1\n"));
    let (page, _) = page(folder.path(), &[]);
    assert!(!page.contains("<script") && !page.contains("\" onerror"), "{page}");
    assert!(page.contains("&lt;script&gt;") && page.contains("Failed and interrupted cases") && page.contains("3×4×5"));
    assert!(page.contains("2 total, 1 done, 1 failed"));
}

#[test]
fn a_thousand_cases_fit_into_a_page() {
    let folder = evaluation();
    let case = |index: usize| {
        json!({"index": index, "status": "done", "input": format!("images/s{index:04}.nii.gz"), "outputs": ["gone.nii.gz"],
               "seconds": {"total": 1.5, "pre": 0.5, "inferer": 0.5}, "peak_memory_bytes": 1 << 30, "error": null})
    };
    let cases: Vec<_> = (0..1000).map(case).collect();
    write(folder.path(), "run.json", &json!({"status": "done", "cases": cases}).to_string());
    let (page, _) = page(folder.path(), &[]);
    assert!(page.matches("<tr>").count() > 1000 && page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn an_inference_is_shown_with_pictures_and_volumes() {
    let bundle = Bundle::new(3);
    std::fs::write(bundle.path("images/s0003.nii.gz"), "no image").unwrap();
    assert!(!bundle.infer(&[]).status.success());
    let run = |words: &[&str]| {
        let output = bundle.run(words);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (std::fs::read_to_string(bundle.path("out/report.html")).unwrap(), text(&output.stderr))
    };
    let (page, log) = run(&["report", "out", "--previews", "2"]);
    assert_eq!(page.matches("<img").count(), 2);
    assert!(log.contains("previews of 2 of 3 cases"), "{log}");
    for part in
        ["Volumes", "Failed and interrupted cases", "s0003.nii.gz", "status failed", "with expressions evaluated"]
    {
        assert!(page.contains(part), "{part}");
    }
    let (page, log) = run(&["report", "out", "--no-volumes", "--previews", "0"]);
    assert!(!page.contains("Volumes") && log.contains("--no-volumes"));
    // Moved elsewhere, without the inputs.
    std::fs::rename(bundle.path("out"), bundle.path("moved")).unwrap();
    std::fs::remove_dir_all(bundle.path("images")).unwrap();
    let output = bundle.run(&["report", "moved", "--output", "page.html"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(bundle.path("page.html")).unwrap();
    assert!(page.contains("Volumes") && page.contains("s0000.nii.gz: cannot"), "{page}");
}

#[test]
fn an_inference_and_its_evaluation_are_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let evaluated = evaluation();
    let case = |error: serde_json::Value| {
        json!({"index": 0, "status": if error.is_null() { "done" } else { "failed" }, "input": "a.nii.gz",
               "outputs": ["out/a.nii.gz"], "error": error})
    };
    let run = |cases: &[serde_json::Value]| json!({"status": "done", "device": "cpu", "cases": cases}).to_string();
    write(folder.path(), "run.json", &run(&[case(json!(null))]));
    write(evaluated.path(), "run.json", &run(&[case(json!({"message": "label of another grid"}))]));
    let words = [evaluated.path().to_str().unwrap(), "--no-volumes", "--previews", "0"];
    let (page, _) = page(folder.path(), &words);
    // The score of the case comes from the evaluation.
    assert!(page.contains("0.6000") && page.contains("label of another grid") && page.contains("liver"), "{page}");
    assert_eq!(page.matches("class=\"status").count(), 2);
}

#[test]
fn metrics_of_an_earlier_run_are_noted() {
    let folder = evaluation();
    let started = |time: &str| json!({"status": "failed", "started": time, "cases": []}).to_string();
    write(folder.path(), "run.json", &started("2000-01-01T00:00:00.000Z"));
    assert!(!page(folder.path(), &[]).1.contains("earlier run"));
    write(folder.path(), "run.json", &started("2200-01-01T00:00:00.000Z"));
    assert!(page(folder.path(), &[]).0.contains("the scores are those of an earlier run"));
}

#[test]
fn a_preview_belongs_to_the_label_map_of_its_name() {
    let bundle = Bundle::new(0);
    for name in ["scan", "scan.v1"] {
        bundle.image(&format!("images/{name}.nii.gz"), 1);
    }
    assert!(bundle.infer(&[]).status.success());
    for (folder, name) in [("scan", "scan"), ("scan.v1", "scan"), ("scan.v1", "scan.v1")] {
        std::fs::write(bundle.path(&format!("out/{folder}/{name}_preview.png")), name).unwrap();
    }
    let output = bundle.run(&["report", "out"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(bundle.path("out/report.html")).unwrap();
    // "scan" and "scan.v1" as base64.
    assert!(page.contains("base64,c2Nhbg==") && page.contains("base64,c2Nhbi52MQ=="), "{page}");
}

#[test]
fn a_folder_without_results_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (&["report", "."][..], "expected run.json, metrics.csv or event files"),
        (&["report", "missing"], "cannot read the folder"),
        (&["report", ".", "--output", "page.pdf"], "expected a .html file"),
    ] {
        let output = program(folder.path()).args(words).output().unwrap();
        let log = text(&output.stderr);
        assert!(!output.status.success() && log.contains(expected), "{words:?}: {log}");
    }
    assert!(!folder.path().join("report.html").exists());
}
