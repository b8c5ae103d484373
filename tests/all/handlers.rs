//! Handlers driven by events: early stops against what MONAI 1.6.1 with ignite 0.5.5 makes of the same scores, schedules,
//! and what the tests of other handlers need.

use crate::common::build;
use segbundle::checkpoint::StateDict;
use segbundle::component::{Args, BuildContext, Dict, FromValue, Key, Object, Value};
use segbundle::contracts::{
    Engine, EngineHandle, EngineStart, EngineState, Event, Explanation, Handler, Optimizer, Parameter, Score, Shared,
};
use segbundle::error::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tch::Tensor;

/// A function of a config's.
struct Function<F>(F);

impl<F: Fn(&[Value]) -> Value + Send + Sync + 'static> Object for Function<F> {
    fn type_name(&self) -> &str {
        "function"
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(&self, args: Args, _call: &mut BuildContext) -> Result<Value> {
        Ok((self.0)(&args.positional))
    }
}

pub fn function(of: impl Fn(&[Value]) -> Value + Send + Sync + 'static) -> Value {
    Value::object(Function(of))
}

pub fn dict(items: Vec<(&str, Value)>) -> Value {
    Value::Dict(Dict::new(items.into_iter().map(|(key, value)| (Key::str(key), value))))
}

pub fn handler(name: &str, args: &[(&str, Value)]) -> Arc<dyn Handler> {
    Arc::<dyn Handler>::from_value(&build(name, args).unwrap()).unwrap()
}

pub fn state(epoch: usize, iteration: usize, dice: Score) -> EngineState {
    let mut state = EngineState {
        engine: "SupervisedTrainer",
        trains: true,
        epoch,
        max_epochs: 7,
        iteration,
        epoch_length: 3,
        ..EngineState::default()
    };
    state.metrics.insert("dice".into(), dice);
    state.key_metric = Some("dice".into());
    state
}

pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn optimizer() -> Value {
    build(
        "SGD",
        &[
            ("params", Value::list([Value::object(Parameter::new("p", &Tensor::zeros([2], tch::kind::FLOAT_CPU)))])),
            ("lr", 0.1.into()),
        ],
    )
    .unwrap()
}

/// Counts how often it is told to stop.
struct Trainer(AtomicUsize);

impl Engine for Trainer {
    fn name(&self) -> &'static str {
        "SupervisedTrainer"
    }
    fn run(&self, _start: &Arc<EngineStart>) -> Result<()> {
        Ok(())
    }
    fn explain(&self, _start: &Arc<EngineStart>) -> Result<Explanation> {
        Err(segbundle::err!("not explained"))
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
        (Some(StateDict::Int(count)), Some(StateDict::Float(best))) => (*count, *best),
        other => panic!("{other:?}"),
    }
}

#[test]
fn early_stops_count_as_ignite_does() {
    // After each score the `counter` and `best_score` of `h._handler`, and how often `t.terminate()` was called, with
    // `h = EarlyStopHandler(score_function=lambda e: next(scores), trainer=t, ...)` and `h(None)` for each score.
    type Standings = [(i64, f64, usize); 10];
    let table: [(usize, f64, bool, Standings); 3] = [
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
        let schedule =
            build("StepLR", &[("optimizer", value.clone()), ("step_size", 1.into()), ("gamma", 0.5.into())]).unwrap();
        let mut all = vec![("lr_scheduler", schedule)];
        all.extend(args.iter().cloned());
        (handler("LrScheduleHandler", &all), Shared::<dyn Optimizer>::from_value(&value).unwrap())
    };
    let one = |event, handler: &Arc<dyn Handler>| handler.on(event, &state(1, 1, Score::Number(0.0)));
    let lr = |optimizer: &Shared<dyn Optimizer>| optimizer.lock().groups()[0].lr;
    let (by_epoch, epoch_optimizer) = make(&[]);
    let (by_iteration, iteration_optimizer) =
        make(&[("epoch_level", false.into()), ("step_transform", function(|_| Value::tuple([])))]);
    for event in
        [Event::Started, Event::IterationCompleted, Event::IterationCompleted, Event::EpochCompleted, Event::Completed]
    {
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
