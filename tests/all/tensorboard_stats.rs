//! TensorBoardStatsHandler: which values go into its file, when there is one, and what a training that goes on hides.

use crate::common::build;
use crate::handlers::{dict, files, function, handler, state};
use segbundle::component::Value;
use segbundle::contracts::{EngineState, Event, Score};
use std::path::Path;

/// Tags in the event files of a folder, in the order in which they were written.
fn tags(folder: &Path, known: &[&str]) -> Vec<String> {
    let mut found = vec![];
    for name in files(folder) {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        for at in 0..bytes.len() {
            // Field 1 of a value: its tag after the length.
            let tag =
                known.iter().find(|tag| bytes[at..].starts_with(&[&[0x0a, tag.len() as u8], tag.as_bytes()].concat()));
            found.extend(tag.map(|tag| (*tag).to_owned()));
        }
    }
    found
}

fn with_loss(epoch: usize, iteration: usize) -> EngineState {
    let item = dict(vec![("pred", "no number".into()), ("loss", Value::Float(0.25))]);
    EngineState { output: vec![item], ..state(epoch, iteration, Score::Number(0.5)) }
}

#[test]
fn tensorboard_gets_losses_and_metrics_and_no_file_before() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("runs");
    let args = |more: &[(&'static str, Value)]| {
        let mut all = vec![("log_dir", Value::from(dir.to_str().unwrap()))];
        all.extend(more.iter().cloned());
        all
    };
    let board = handler("TensorBoardStatsHandler", &args(&[("state_attributes", vec!["best_metric_epoch"].into())]));
    assert!(board.wants_output());
    board.on(Event::Started, &with_loss(0, 0)).unwrap();
    assert!(!dir.exists(), "no file before the first value");
    board.on(Event::IterationCompleted, &with_loss(1, 1)).unwrap();
    let mut epoch = state(1, 1, Score::Number(0.5));
    epoch.metrics.insert("each".into(), Score::Numbers(vec![1.0]));
    board.on(Event::EpochCompleted, &epoch).unwrap();
    let known = ["loss", "dice", "each", "pred", "best_metric_epoch", "Loss"];
    assert_eq!(tags(&dir, &known), ["loss", "dice", "best_metric_epoch"]);
    std::fs::remove_dir_all(&dir).unwrap();

    // Every second iteration, a number of its own, no epochs; functions decide.
    let transform =
        function(|args| if args[0].as_sequence().unwrap().is_empty() { Value::None } else { Value::Int(2) });
    let board = handler(
        "TensorBoardStatsHandler",
        &args(&[("iteration_log", 2.into()), ("epoch_log", false.into()), ("output_transform", transform)]),
    );
    let epochs = function(|args| (args[1] == Value::Int(2)).into());
    let other = handler("TensorBoardStatsHandler", &args(&[("iteration_log", false.into()), ("epoch_log", epochs)]));
    assert!(!other.wants_output());
    for count in 1..=3 {
        for handler in [&board, &other] {
            handler.on(Event::IterationCompleted, &with_loss(count, count)).unwrap();
            handler.on(Event::EpochCompleted, &with_loss(count, count)).unwrap();
        }
    }
    let mut found = tags(&dir, &known);
    found.sort();
    assert_eq!(found, ["Loss", "dice"]);
    let error = build("TensorBoardStatsHandler", &[("epoch_event_writer", function(|_| Value::None))]).unwrap_err();
    assert!(error.to_string().contains("not supported"), "{error}");
    let bad = handler("TensorBoardStatsHandler", &args(&[("state_attributes", vec!["other"].into())]));
    assert!(bad.on(Event::EpochCompleted, &epoch).unwrap_err().get_hint().unwrap().contains("best_metric"));
}

#[test]
fn a_training_that_goes_on_hides_what_a_killed_one_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let first = handler("TensorBoardStatsHandler", &[("log_dir", dir.into())]);
    first.on(Event::IterationCompleted, &with_loss(1, 4)).unwrap();
    let saved = first.save().unwrap();
    first.on(Event::IterationCompleted, &with_loss(1, 5)).unwrap();
    let earlier = files(folder.path());
    let second = handler("TensorBoardStatsHandler", &[("log_dir", dir.into())]);
    second.on(Event::Started, &with_loss(0, 0)).unwrap();
    second.load(&saved).unwrap();
    assert_eq!(files(folder.path()), earlier);
    second.on(Event::IterationCompleted, &with_loss(1, 5)).unwrap();
    let new: Vec<String> = files(folder.path()).into_iter().filter(|name| !earlier.contains(name)).collect();
    let bytes = std::fs::read(folder.path().join(&new[0])).unwrap();
    // A session that starts (3a 02 08 01) at step 5 (10 05).
    assert!(bytes.windows(6).any(|part| part == [0x10, 5, 0x3a, 2, 8, 1]));
    // An evaluator's iterations begin anew in each run, so that nothing can be hidden by number.
    let evaluator = handler("TensorBoardStatsHandler", &[("log_dir", dir.into())]);
    evaluator.load(&saved).unwrap();
    let known = files(folder.path());
    evaluator
        .on(Event::EpochCompleted, &EngineState { engine: "SupervisedEvaluator", trains: false, ..with_loss(2, 3) })
        .unwrap();
    let new = files(folder.path()).into_iter().find(|name| !known.contains(name)).unwrap();
    let bytes = std::fs::read(folder.path().join(new)).unwrap();
    assert!(!bytes.windows(4).any(|part| part == [0x3a, 2, 8, 1]));
}

#[test]
fn an_event_file_that_cannot_be_made_is_an_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let dir = folder.path().join("file/runs");
    let board = handler("TensorBoardStatsHandler", &[("log_dir", dir.to_str().unwrap().into())]);
    let error = board.on(Event::EpochCompleted, &state(1, 1, Score::Number(0.5))).unwrap_err();
    assert_eq!(error.get_file(), dir.to_str());
}
