//! CheckpointSaver and CheckpointLoader, against what MONAI 1.6.1 with ignite 0.5.5 makes of the same events.
//!
//! Expected file names: a torch.nn.Linear named `model` (and its SGD optimizer named `optimizer`), an ignite Engine whose
//! epochs of three iterations set `state.metrics = {"dice": score}`, `CheckpointSaver(...).attach(engine)`, and
//! `sorted(os.listdir(save_dir))` after each epoch and at the end.

use crate::common::build;
use crate::handlers::{dict, files, handler, optimizer, state};
use segbundle::checkpoint::{self, StateDict};
use segbundle::component::{FromValue, Value};
use segbundle::contracts::{
    EngineStart, EngineState, Event, Handler, Mode, Network, NetworkHandle, NetworkState, Optimizer, Schedule, Score,
    Shared,
};
use segbundle::error::Result;
use segbundle::torch::Device;
use std::path::Path;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// A network of one weight in f64 and one count; draws nothing.
struct Line(NetworkState);

impl Line {
    fn shared(weight: f64) -> Shared<dyn Network> {
        let mut state = NetworkState::default();
        state.tensors.insert("weight".into(), Tensor::from_slice(&[weight, 0.1]));
        state.tensors.insert("count".into(), Tensor::from_slice(&[3_i64]));
        Arc::new(parking_lot::Mutex::new(Line(state)))
    }
}

impl Network for Line {
    fn name(&self) -> &str {
        "Line"
    }
    fn in_channels(&self) -> usize {
        1
    }
    fn out_channels(&self) -> usize {
        1
    }
    fn forward(&self, x: &Tensor, _mode: Mode) -> Result<Tensor> {
        Ok(x.shallow_clone())
    }
    fn state(&self) -> &NetworkState {
        &self.0
    }
    fn load(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        for (name, tensor) in tensors {
            let own = self.0.tensors.get_mut(name).ok_or_else(|| segbundle::err!("unexpected {name}"))?;
            own.copy_(tensor);
        }
        Ok(())
    }
    fn to(&mut self, _device: Device) -> Result<()> {
        Ok(())
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

fn weight(network: &Shared<dyn Network>) -> Vec<f64> {
    Vec::try_from(network.lock().state().tensors["weight"].to_kind(Kind::Double)).unwrap()
}

fn parts(both: bool) -> Value {
    let mut parts = vec![("model", Value::object(NetworkHandle(Line::shared(0.5))))];
    parts.extend(both.then(|| ("optimizer", optimizer())));
    dict(parts)
}

fn saver(folder: &Path, both: bool, args: &[(&str, Value)]) -> Arc<dyn Handler> {
    let mut all = vec![("save_dir", folder.to_str().unwrap().into()), ("save_dict", parts(both))];
    all.extend(args.iter().cloned());
    handler("CheckpointSaver", &all)
}

/// The files after each epoch, and those at the end.
fn epochs(args: &[(&str, Value)], both: bool, scores: &[f64]) -> (Vec<Vec<String>>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let saver = saver(folder.path(), both, args);
    let mut after = vec![];
    saver.on(Event::Started, &state(0, 0, Score::Number(0.0))).unwrap();
    for (at, &score) in scores.iter().enumerate() {
        for iteration in 1..=3 {
            saver.on(Event::IterationCompleted, &state(at + 1, at * 3 + iteration, Score::Number(score))).unwrap();
        }
        saver.on(Event::EpochCompleted, &state(at + 1, at * 3 + 3, Score::Number(score))).unwrap();
        after.push(files(folder.path()));
    }
    saver.on(Event::Completed, &state(scores.len(), scores.len() * 3, Score::Number(0.0))).unwrap();
    (after, files(folder.path()))
}

const SCORES: [f64; 7] = [0.5, 0.71239, 0.5, 0.71239, 0.71243, 0.3, 0.6];

#[test]
fn the_best_epochs_are_kept_under_monais_names() {
    let yes = || Value::from(true);
    let one = |args: &[(&str, Value)], both: bool| epochs(args, both, &SCORES).0;
    let named =
        |scores: [&str; 7], prefix: &str| scores.map(|score| vec![format!("{prefix}_key_metric={score}.pt")]).to_vec();
    let expected = named(["0.5000", "0.7124", "0.7124", "0.7124", "0.7124", "0.7124", "0.7124"], "model");
    assert_eq!(one(&[("save_key_metric", yes())], false), expected);
    let expected = named(["-0.5000", "-0.5000", "-0.5000", "-0.5000", "-0.5000", "-0.3000", "-0.3000"], "model");
    assert_eq!(one(&[("save_key_metric", yes()), ("key_metric_negative_sign", yes())], false), expected);
    let args = [
        ("save_key_metric", yes()),
        ("file_prefix", "net".into()),
        ("key_metric_n_saved", 2.into()),
        ("key_metric_greater_or_equal", yes()),
    ];
    let after = one(&args, true);
    let two = |worst: &str| {
        [format!("net_checkpoint_key_metric={worst}.pt"), "net_checkpoint_key_metric=0.7124.pt".to_owned()]
    };
    assert_eq!(after[0], ["net_checkpoint_key_metric=0.5000.pt"]);
    for epoch in &after[1..6] {
        assert_eq!(*epoch, two("0.5000"));
    }
    assert_eq!(after[6], two("0.6000"));
    let fixed = one(&[("save_key_metric", yes()), ("key_metric_filename", "best.pt".into())], false);
    assert!(fixed.iter().all(|names| *names == ["best.pt"]), "{fixed:?}");
}

#[test]
fn regular_and_final_files_have_monais_names() {
    let (after, last) = epochs(&[("save_interval", 2.into()), ("n_saved", 2.into())], false, &SCORES);
    let expected: [&[&str]; 7] = [
        &[],
        &["model_epoch=2.pt"],
        &["model_epoch=2.pt"],
        &["model_epoch=2.pt", "model_epoch=4.pt"],
        &["model_epoch=2.pt", "model_epoch=4.pt"],
        &["model_epoch=4.pt", "model_epoch=6.pt"],
        &["model_epoch=4.pt", "model_epoch=6.pt"],
    ];
    assert_eq!(after, expected);
    assert_eq!(last, after[6]);
    let (_, last) = epochs(&[("save_interval", 2.into()), ("epoch_level", false.into())], true, &SCORES[..2]);
    assert_eq!(last, ["checkpoint_iteration=2.pt", "checkpoint_iteration=4.pt", "checkpoint_iteration=6.pt"]);
    let (after, last) = epochs(&[("save_final", true.into())], false, &SCORES[..2]);
    assert_eq!((after[1].len(), last), (0, vec!["model_final_iteration=6.pt".to_owned()]));
    let (_, last) = epochs(&[("save_final", true.into()), ("final_filename", "last.pt".into())], true, &SCORES[..2]);
    assert_eq!(last, ["last.pt"]);
}

#[test]
fn a_failed_run_leaves_one_final_file_and_a_metric_of_several_numbers_is_minus_one() {
    let folder = tempfile::tempdir().unwrap();
    let saver = saver(folder.path(), false, &[("save_final", true.into()), ("save_key_metric", true.into())]);
    saver.on(Event::EpochCompleted, &state(1, 3, Score::Numbers(vec![1.0, 1.0]))).unwrap();
    assert_eq!(files(folder.path()), ["model_key_metric=-1.pt"]);
    saver.on(Event::Failed, &state(2, 5, Score::Number(0.0))).unwrap();
    saver.on(Event::Failed, &state(2, 6, Score::Number(0.0))).unwrap();
    assert_eq!(files(folder.path()), ["model_final_iteration=6.pt", "model_key_metric=-1.pt"]);
    let nothing = EngineState { key_metric: None, ..state(1, 3, Score::Number(0.0)) };
    let error = saver.on(Event::EpochCompleted, &nothing).unwrap_err();
    assert!(error.get_hint().unwrap().contains("key_metric_name"), "{error}");
}

#[test]
fn one_part_is_its_state_in_f32_and_several_are_a_dict_that_the_loader_takes() {
    let folder = tempfile::tempdir().unwrap();
    let network = Line::shared(0.5);
    let optimizer_value = optimizer();
    let optimizer = Shared::<dyn Optimizer>::from_value(&optimizer_value).unwrap();
    let args = [("optimizer", optimizer_value.clone()), ("step_size", 1.into()), ("gamma", 0.5.into())];
    let schedule_value = build("StepLR", &args).unwrap();
    let schedule = Shared::<dyn Schedule>::from_value(&schedule_value).unwrap();
    schedule.lock().step().unwrap();
    let all = || {
        let network = Value::object(NetworkHandle(network.clone()));
        dict(vec![("model", network), ("optimizer", optimizer_value.clone()), ("schedule", schedule_value.clone())])
    };
    let place = |name: &str| Value::from(folder.path().join(name).to_str().unwrap());
    let save = |parts: Value, name: &str| {
        let dir = folder.path().to_str().unwrap();
        let args = [
            ("save_dir", dir.into()),
            ("save_dict", parts),
            ("save_final", true.into()),
            ("final_filename", name.into()),
        ];
        handler("CheckpointSaver", &args).on(Event::Completed, &EngineState::default()).unwrap();
    };
    save(dict(vec![("model", Value::object(NetworkHandle(network.clone())))]), "one.pt");
    let one = checkpoint::load(folder.path().join("one.pt")).unwrap().state_dict(None).unwrap();
    assert_eq!((one[0].0.as_str(), one[0].1.kind(), one[1].1.kind()), ("weight", Kind::Float, Kind::Int64));

    save(all(), "all.pt");
    network.lock().load(&[("weight".into(), Tensor::from_slice(&[9.0, 9.0]))]).unwrap();
    optimizer.lock().groups_mut()[0].lr = 9.0;
    schedule.lock().step().unwrap();
    let load = |parts: Value, name: &str, args: &[(&str, Value)]| {
        let mut every = vec![("load_path", place(name)), ("load_dict", parts)];
        every.extend(args.iter().cloned());
        handler("CheckpointLoader", &every).on(Event::Started, &EngineState::default())
    };
    load(all(), "all.pt", &[]).unwrap();
    assert_eq!(weight(&network), [0.5, f64::from(0.1_f32)]);
    assert_eq!((optimizer.lock().groups()[0].lr, schedule.lock().last_lr().to_vec()), (0.05, vec![0.05]));
    // Without strict shapes only networks are loaded.
    optimizer.lock().groups_mut()[0].lr = 9.0;
    load(all(), "all.pt", &[("strict_shape", false.into())]).unwrap();
    assert_eq!(optimizer.lock().groups()[0].lr, 9.0);
    // One optimizer alone, from a file of its own and from one of many.
    let alone = || dict(vec![("optimizer", optimizer_value.clone())]);
    load(alone(), "all.pt", &[]).unwrap();
    save(alone(), "optimizer.pt");
    optimizer.lock().groups_mut()[0].lr = 9.0;
    load(alone(), "optimizer.pt", &[]).unwrap();
    assert_eq!(optimizer.lock().groups()[0].lr, 0.05);
    let error = load(
        dict(vec![("lr", schedule_value.clone()), ("model", Value::object(NetworkHandle(network.clone())))]),
        "all.pt",
        &[],
    );
    assert!(error.unwrap_err().to_string().contains("`lr`"));
    // The list of the best goes into the file beside the state.
    let dir = folder.path().join("best");
    let args = [("save_key_metric", true.into()), ("key_metric_save_state", true.into())];
    saver(&dir, false, &args).on(Event::EpochCompleted, &state(1, 3, Score::Number(0.71239))).unwrap();
    let best = checkpoint::load(dir.join("model_key_metric=0.7124.pt")).unwrap();
    assert_eq!(best.keys(), ["weight", "count", "checkpointer"]);
    let list = best.state_of("checkpointer").unwrap();
    assert_eq!(
        format!("{:?}", list.get("_saved").unwrap()),
        r#"List([Tuple([Float(0.71239), Str("model_key_metric=0.7124.pt")])])"#
    );
}

#[test]
fn a_training_that_goes_on_keeps_and_removes_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        ("save_key_metric", true.into()),
        ("save_interval", 1.into()),
        ("n_saved", 2.into()),
        ("save_final", true.into()),
    ];
    let first = saver(folder.path(), false, &args);
    for (at, score) in [0.5, 0.6].into_iter().enumerate() {
        first.on(Event::EpochCompleted, &state(at + 1, at * 3 + 3, Score::Number(score))).unwrap();
    }
    first.on(Event::Failed, &state(2, 6, Score::Number(0.0))).unwrap();
    let saved = first.save().unwrap();
    let second = saver(folder.path(), false, &args);
    second.load(&saved).unwrap();
    second.on(Event::EpochCompleted, &state(3, 9, Score::Number(0.55))).unwrap();
    second.on(Event::Completed, &state(3, 9, Score::Number(0.0))).unwrap();
    let expected = ["model_epoch=2.pt", "model_epoch=3.pt", "model_final_iteration=9.pt", "model_key_metric=0.6000.pt"];
    assert_eq!(files(folder.path()), expected);
    // A list that would remove files elsewhere is refused.
    let item = StateDict::Tuple(vec![StateDict::Int(1), StateDict::Str("../other.pt".into())]);
    assert!(second.load(&StateDict::dict([("interval", StateDict::List(vec![item]))])).is_err());
}

#[test]
fn a_folder_that_cannot_be_written_ends_the_run_and_keeps_the_older_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let bad = saver(&folder.path().join("file"), false, &[("save_final", true.into())]);
    let error = bad.prepare(&EngineStart::default()).unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
    // A folder stands where the next file should go.
    let good = saver(folder.path(), false, &[("save_key_metric", true.into())]);
    good.on(Event::EpochCompleted, &state(1, 3, Score::Number(0.5))).unwrap();
    std::fs::create_dir(folder.path().join("model_key_metric=0.6000.pt")).unwrap();
    let error = good.on(Event::EpochCompleted, &state(2, 6, Score::Number(0.6))).unwrap_err();
    assert!(error.get_hint().unwrap().contains("--resume"), "{error}");
    assert!(folder.path().join("model_key_metric=0.5000.pt").is_file());
    std::fs::remove_dir(folder.path().join("model_key_metric=0.6000.pt")).unwrap();
    good.on(Event::EpochCompleted, &state(3, 9, Score::Number(0.7))).unwrap();
    assert_eq!(files(folder.path()), ["file", "model_key_metric=0.7000.pt"]);
}

#[test]
fn wrong_arguments_of_the_saver_are_named() {
    let try_with = |args: &[(&str, Value)]| {
        let mut all = vec![("save_dir", "x".into()), ("save_dict", parts(false))];
        all.extend(args.iter().cloned());
        build("CheckpointSaver", &all).unwrap_err().to_string()
    };
    let fixed =
        [("save_key_metric", true.into()), ("key_metric_filename", "a.pt".into()), ("key_metric_n_saved", 2.into())];
    assert!(try_with(&fixed).contains("key_metric_filename"));
    assert!(try_with(&[("save_interval", 1.into()), ("n_saved", 0.into())]).contains("at least 1"));
    let error =
        build("CheckpointSaver", &[("save_dir", "x".into()), ("save_dict", dict(vec![("a", 1.into())]))]).unwrap_err();
    assert!(error.to_string().contains("expected a network, optimizer or learning-rate schedule"), "{error}");
}
