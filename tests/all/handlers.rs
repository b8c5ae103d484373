//! Handlers driven by events, against what MONAI 1.6.1 with ignite 0.5.5 makes of the same ones.
//!
//! Expected file names and log lines: a torch.nn.Linear named `model` (and its SGD optimizer named `optimizer`), an
//! ignite Engine whose epochs of three iterations set `state.metrics = {"dice": score}`, `CheckpointSaver(...).attach`,
//! and `sorted(os.listdir(save_dir))` after each epoch. Expected counts of the early stop: `h(None)` for each score with
//! `EarlyStopHandler(score_function=lambda e: next(scores), trainer=t, ...)`, then `counter`, `best_score` of its
//! `_handler`, and how often `t.terminate()` was called.

use crate::common::build;
use segbundle::component::{Args, Call, Dict, FromValue, Key, Object, Value};
use segbundle::contracts::{
    Engine, EngineHandle, EngineState, Event, Handler, Mode, Network, NetworkHandle, Optimizer, Parameter, Schedule, Score, Shared, State,
};
use segbundle::error::Result;
use segbundle::formats::checkpoint::{self, State as Saved};
use segbundle::torch::Device;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tch::{Kind, Tensor};

/// A network of one weight in f64 and one count; draws nothing.
struct Line(State);

impl Line {
    fn shared(weight: f64) -> Shared<dyn Network> {
        let mut state = State::default();
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
    fn state(&self) -> &State {
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

/// A function of a config's.
struct Function(Box<dyn Fn(&[Value]) -> Value + Send + Sync>);

impl Object for Function {
    fn type_name(&self) -> &str {
        "function"
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, _call: &mut Call) -> Result<Value> {
        Ok((self.0)(&args.positional))
    }
}

fn function(of: impl Fn(&[Value]) -> Value + Send + Sync + 'static) -> Value {
    Value::object(Function(Box::new(of)))
}

fn dict(items: Vec<(&str, Value)>) -> Value {
    Value::Dict(Dict::new(items.into_iter().map(|(key, value)| (Key::str(key), value))))
}

fn handler(name: &str, args: &[(&str, Value)]) -> Arc<dyn Handler> {
    Arc::<dyn Handler>::from_value(&build(name, args).unwrap()).unwrap()
}

fn state(epoch: usize, iteration: usize, dice: Score) -> EngineState {
    let mut state = EngineState { engine: "SupervisedTrainer", epoch, max_epochs: 7, iteration, epoch_length: 3, ..EngineState::default() };
    state.metrics.insert("dice".into(), dice);
    state.key_metric = Some("dice".into());
    state
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn optimizer() -> Value {
    build(
        "SGD",
        &[("params", Value::list([Value::object(Parameter::new("p", &Tensor::zeros([2], tch::kind::FLOAT_CPU)))])), ("lr", 0.1.into())],
    )
    .unwrap()
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
    let named = |scores: [&str; 7], prefix: &str| scores.map(|score| vec![format!("{prefix}_key_metric={score}.pt")]).to_vec();
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
    let two = |worst: &str| [format!("net_checkpoint_key_metric={worst}.pt"), "net_checkpoint_key_metric=0.7124.pt".to_owned()];
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
        let args = [("save_dir", dir.into()), ("save_dict", parts), ("save_final", true.into()), ("final_filename", name.into())];
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
    let error = load(dict(vec![("lr", schedule_value.clone()), ("model", Value::object(NetworkHandle(network.clone())))]), "all.pt", &[]);
    assert!(error.unwrap_err().to_string().contains("`lr`"));
    // The list of the best goes into the file beside the state.
    let dir = folder.path().join("best");
    let args = [("save_key_metric", true.into()), ("key_metric_save_state", true.into())];
    saver(&dir, false, &args).on(Event::EpochCompleted, &state(1, 3, Score::Number(0.71239))).unwrap();
    let best = checkpoint::load(dir.join("model_key_metric=0.7124.pt")).unwrap();
    assert_eq!(best.keys(), ["weight", "count", "checkpointer"]);
    let list = best.state_of("checkpointer").unwrap();
    assert_eq!(format!("{:?}", list.get("_saved").unwrap()), r#"List([Tuple([Float(0.71239), Str("model_key_metric=0.7124.pt")])])"#);
}

#[test]
fn a_training_that_goes_on_keeps_and_removes_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let args = [("save_key_metric", true.into()), ("save_interval", 1.into()), ("n_saved", 2.into()), ("save_final", true.into())];
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
    let item = Saved::Tuple(vec![Saved::Int(1), Saved::Str("../other.pt".into())]);
    assert!(second.load(&Saved::dict([("interval", Saved::List(vec![item]))])).is_err());
}

#[test]
fn a_folder_that_cannot_be_written_ends_the_run_and_keeps_the_older_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let bad = saver(&folder.path().join("file"), false, &[("save_final", true.into())]);
    let error = bad.on(Event::Started, &EngineState::default()).unwrap_err();
    assert!(error.to_string().contains("no folder"), "{error}");
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
    let fixed = [("save_key_metric", true.into()), ("key_metric_filename", "a.pt".into()), ("key_metric_n_saved", 2.into())];
    assert!(try_with(&fixed).contains("key_metric_filename"));
    assert!(try_with(&[("save_interval", 1.into()), ("n_saved", 0.into())]).contains("at least 1"));
    let error = build("CheckpointSaver", &[("save_dir", "x".into()), ("save_dict", dict(vec![("a", 1.into())]))]).unwrap_err();
    assert!(error.to_string().contains("expected a network, optimizer or learning-rate schedule"), "{error}");
}

/// Counts how often it is told to stop.
struct Trainer(AtomicUsize);

impl Engine for Trainer {
    fn name(&self) -> &'static str {
        "SupervisedTrainer"
    }
    fn run(&self) -> Result<()> {
        Ok(())
    }
    fn terminate(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn state(&self) -> EngineState {
        EngineState::default()
    }
}

/// As `$lambda engine: engine.state.metrics['dice']`.
fn dice() -> Value {
    function(|args| {
        let Value::Object(engine) = &args[0] else { panic!("no engine") };
        let Some(Value::Object(state)) = engine.attr("state").unwrap() else { panic!("no state") };
        let Some(Value::Dict(metrics)) = state.attr("metrics").unwrap() else { panic!("no metrics") };
        metrics.get("dice").unwrap()
    })
}

const STOP_SCORES: [f64; 10] = [0.5, 0.6, 0.55, 0.62, 0.63, 0.64, 0.7, 0.69, 0.68, 0.67];

fn standing(handler: &Arc<dyn Handler>) -> (i64, f64) {
    match (handler.save().unwrap().get("counter"), handler.save().unwrap().get("best_score")) {
        (Some(Saved::Int(count)), Some(Saved::Float(best))) => (*count, *best),
        other => panic!("{other:?}"),
    }
}

#[test]
fn early_stops_count_as_ignite_does() {
    // Count, best score and calls of terminate() after each score.
    let table: [(usize, f64, bool, [(i64, f64, usize); 10]); 3] = [
        (
            2,
            0.0,
            false,
            [
                (0, 0.5, 0),
                (0, 0.6, 0),
                (1, 0.6, 0),
                (0, 0.62, 0),
                (0, 0.63, 0),
                (0, 0.64, 0),
                (0, 0.7, 0),
                (1, 0.7, 0),
                (2, 0.7, 1),
                (3, 0.7, 2),
            ],
        ),
        (
            3,
            0.05,
            false,
            [
                (0, 0.5, 0),
                (0, 0.6, 0),
                (1, 0.6, 0),
                (2, 0.62, 0),
                (3, 0.63, 1),
                (4, 0.64, 2),
                (0, 0.7, 2),
                (1, 0.7, 2),
                (2, 0.7, 2),
                (3, 0.7, 3),
            ],
        ),
        (
            3,
            0.05,
            true,
            [
                (0, 0.5, 0),
                (0, 0.6, 0),
                (1, 0.6, 0),
                (2, 0.6, 0),
                (3, 0.6, 1),
                (4, 0.6, 2),
                (0, 0.7, 2),
                (1, 0.7, 2),
                (2, 0.7, 2),
                (3, 0.7, 3),
            ],
        ),
    ];
    for (patience, delta, cumulative, expected) in table {
        let trainer = Arc::new(Trainer(AtomicUsize::new(0)));
        let args = [
            ("patience", Value::Int(patience as i64)),
            ("score_function", dice()),
            ("trainer", Value::object(EngineHandle(trainer.clone()))),
            ("min_delta", delta.into()),
            ("cumulative_delta", cumulative.into()),
        ];
        let mut stop = handler("EarlyStopHandler", &args);
        for (at, (&score, expected)) in STOP_SCORES.iter().zip(expected).enumerate() {
            // Going on in a new process half-way changes nothing.
            if at == 4 {
                let saved = stop.save().unwrap();
                stop = handler("EarlyStopHandler", &args);
                stop.load(&saved).unwrap();
            }
            stop.on(Event::IterationCompleted, &state(at + 1, at, Score::Number(9.0))).unwrap();
            stop.on(Event::EpochCompleted, &state(at + 1, at, Score::Number(score))).unwrap();
            let (count, best) = standing(&stop);
            assert_eq!((count, best, trainer.0.load(Ordering::Relaxed)), expected, "score {at}, delta {delta}");
        }
        assert_eq!(Arc::strong_count(&trainer), 2, "held by the test and its argument alone");
    }
}

#[test]
fn an_early_stop_without_a_trainer_says_how_to_give_one() {
    let stop = handler("EarlyStopHandler", &[("patience", 1.into()), ("score_function", dice())]);
    let error = stop.on(Event::EpochCompleted, &state(1, 1, Score::Number(0.5))).unwrap_err();
    assert!(error.get_hint().unwrap().contains("set_trainer"), "{error}");
    let trainer = Arc::new(Trainer(AtomicUsize::new(0)));
    assert!(stop.set_engine(trainer.clone()));
    stop.on(Event::EpochCompleted, &state(1, 1, Score::Number(0.5))).unwrap();
    stop.on(Event::EpochCompleted, &state(2, 2, Score::Number(0.5))).unwrap();
    assert_eq!(trainer.0.load(Ordering::Relaxed), 1);
    let error = build("EarlyStopHandler", &[("patience", 0.into()), ("score_function", dice())]).unwrap_err();
    assert!(error.to_string().contains("patience"), "{error}");
}

#[test]
fn schedules_step_by_epoch_or_iteration_and_go_on() {
    let make = |args: &[(&str, Value)]| {
        let value = optimizer();
        let schedule = build("StepLR", &[("optimizer", value.clone()), ("step_size", 1.into()), ("gamma", 0.5.into())]).unwrap();
        let mut all = vec![("lr_scheduler", schedule)];
        all.extend(args.iter().cloned());
        (handler("LrScheduleHandler", &all), Shared::<dyn Optimizer>::from_value(&value).unwrap())
    };
    let one = |event, handler: &Arc<dyn Handler>| handler.on(event, &state(1, 1, Score::Number(0.0)));
    let lr = |optimizer: &Shared<dyn Optimizer>| optimizer.lock().groups()[0].lr;
    let (by_epoch, epoch_optimizer) = make(&[]);
    let (by_iteration, iteration_optimizer) = make(&[("epoch_level", false.into()), ("step_transform", function(|_| Value::tuple([])))]);
    for event in [Event::Started, Event::IterationCompleted, Event::IterationCompleted, Event::EpochCompleted, Event::Completed] {
        one(event, &by_epoch).unwrap();
        one(event, &by_iteration).unwrap();
    }
    assert_eq!((lr(&epoch_optimizer), lr(&iteration_optimizer)), (0.05, 0.025));
    // The optimizer's own state brings its rate; the handler brings the schedule's place.
    let (next, next_optimizer) = make(&[]);
    next_optimizer.lock().load_state(&epoch_optimizer.lock().state().unwrap()).unwrap();
    next.load(&by_epoch.save().unwrap()).unwrap();
    one(Event::EpochCompleted, &next).unwrap();
    assert_eq!(lr(&next_optimizer), 0.025);
    let (with_metric, _) = make(&[("step_transform", function(|_| Value::Float(0.5)))]);
    assert!(one(Event::EpochCompleted, &with_metric).unwrap_err().to_string().contains("empty tuple"));
}

/// Tags in the event files of a folder, in the order in which they were written.
fn tags(folder: &Path, known: &[&str]) -> Vec<String> {
    let mut found = vec![];
    for name in files(folder) {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        for at in 0..bytes.len() {
            // Field 1 of a value: its tag after the length.
            let tag = known.iter().find(|tag| bytes[at..].starts_with(&[&[0x0a, tag.len() as u8], tag.as_bytes()].concat()));
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
    let transform = function(|args| if args[0].as_sequence().unwrap().is_empty() { Value::None } else { Value::Int(2) });
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
    evaluator.on(Event::EpochCompleted, &EngineState { engine: "SupervisedEvaluator", ..with_loss(2, 3) }).unwrap();
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
