//! Optimizers and schedules against torch's numbers (data/make_optimizers.py), and their states both ways.

use crate::common::{build, golden};
use segbundle::checkpoint::{self, StateDict};
use segbundle::component::{FromValue, Key, Value};
use segbundle::contracts::{Optimizer, Parameter, Schedule, Shared};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// As data/make_optimizers.py makes them.
fn values(shape: &[i64], a: i64, m: i64) -> Tensor {
    let n = shape.iter().product::<i64>();
    let x: Tensor = ((Tensor::arange(n, (Kind::Int64, Device::Cpu)) + 1) * a).remainder(m) - m / 2;
    (x.to_kind(Kind::Float) / m as f64).reshape(shape)
}

const SHAPES: [&[i64]; 3] = [&[4, 3, 3], &[70], &[5]];

fn dict(items: Vec<(&str, Value)>) -> Value {
    Value::Dict(segbundle::component::Dict::new(items.into_iter().map(|(key, value)| (Key::str(key), value))))
}

fn optimizer(component: &str, args: &[(&str, Value)], parameters: &[Tensor]) -> Shared<dyn Optimizer> {
    let parameter = |at: usize| Value::object(Parameter::new("p", &parameters[at]));
    let groups = Value::list([
        dict(vec![("params", Value::list([parameter(0), parameter(2)]))]),
        dict(vec![("params", Value::list([parameter(1)])), ("lr", 0.02.into())]),
    ]);
    let mut all = vec![("params", groups)];
    all.extend(args.iter().cloned());
    Shared::from_value(&build(component, &all).unwrap()).unwrap()
}

/// Name in the golden data, component, arguments.
type Case = (&'static str, &'static str, Vec<(&'static str, Value)>);

fn cases() -> Vec<Case> {
    vec![
        ("adamw", "AdamW", vec![("lr", 1e-2.into()), ("weight_decay", 1e-5.into())]),
        (
            "adamw_amsgrad",
            "AdamW",
            vec![
                ("lr", 3e-3.into()),
                ("betas", vec![0.8, 0.99].into()),
                ("eps", 1e-6.into()),
                ("weight_decay", 0.1.into()),
                ("amsgrad", true.into()),
            ],
        ),
        ("adam", "Adam", vec![("lr", 1e-2.into()), ("weight_decay", 0.01.into())]),
        (
            "adam_maximize",
            "Adam",
            vec![("maximize", true.into()), ("weight_decay", 0.02.into()), ("amsgrad", true.into())],
        ),
        ("sgd", "SGD", vec![("lr", 0.1.into())]),
        (
            "sgd_momentum",
            "SGD",
            vec![
                ("lr", 0.05.into()),
                ("momentum", 0.9.into()),
                ("dampening", 0.1.into()),
                ("weight_decay", 1e-3.into()),
            ],
        ),
        (
            "sgd_nesterov",
            "SGD",
            vec![
                ("lr", 0.05.into()),
                ("momentum", 0.95.into()),
                ("nesterov", true.into()),
                ("weight_decay", 1e-3.into()),
                ("maximize", true.into()),
            ],
        ),
    ]
}

fn run(optimizer: &Shared<dyn Optimizer>, parameters: &[Tensor], steps: std::ops::Range<i64>) {
    for step in steps {
        optimizer.lock().zero_grad().unwrap();
        for parameter in &parameters[..2] {
            // The gradient of Σ p·g is g.
            (parameter * values(&parameter.size(), 31 + 2 * step, 997)).sum(Kind::Float).backward();
        }
        optimizer.lock().step().unwrap();
    }
}

fn fresh() -> Vec<Tensor> {
    SHAPES.iter().map(|shape| values(shape, 7919, 2003).set_requires_grad(true)).collect()
}

fn torch_states() -> StateDict {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/optimizer_states.pt");
    checkpoint::load(&path).unwrap().state().unwrap()
}

#[test]
fn thirty_steps_equal_torch_and_go_on_from_its_state() {
    let (golden, states) = (golden("optimizers.pt"), torch_states());
    for (name, component, args) in cases() {
        let parameters = fresh();
        let ours = optimizer(component, &args, &parameters);
        run(&ours, &parameters, 0..15);
        let saved = ours.lock().state().unwrap();
        let torch = states.get(name).unwrap();
        // torch's own state, entry by entry, and nothing that it does not have.
        assert_same(&saved, torch, name);

        let other = fresh();
        for (at, parameter) in other.iter().enumerate() {
            let Some(StateDict::Tensor(value)) = states.get(&format!("{name}.{at}")) else { panic!("{name}.{at}") };
            tch::no_grad(|| parameter.shallow_clone().copy_(value));
        }
        let continued = optimizer(component, &[], &other);
        if component == "SGD" || component.starts_with("Adam") {
            continued.lock().load_state(torch).unwrap();
        }
        run(&continued, &other, 15..30);
        run(&ours, &parameters, 15..30);
        for (at, (parameter, other)) in parameters.iter().zip(&other).enumerate() {
            let expected = &golden[&format!("{name}.{at}")];
            assert!(apart(&parameter.detach(), expected) < TOLERANCE, "{name}.{at}");
            assert!(apart(&other.detach(), expected) < TOLERANCE, "{name}.{at} continued");
        }
    }
}

/// MKL computes the square roots of libtorch, and their last bits depend on the processor. On the one that made the
/// numbers all are equal; those of Python on another one differ by 1.2e-7 after the 30 steps.
const TOLERANCE: f64 = 5e-7;

/// Largest difference, relative to the largest value of `b`.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let scale = b.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    (a - b).abs().max().double_value(&[]) / scale
}

/// Equal up to rounding; the order of keys is ignored, and an int and a float of one value are equal.
fn assert_same(ours: &StateDict, torch: &StateDict, at: &str) {
    let number = |state: &StateDict| match state {
        StateDict::Int(i) => Some(*i as f64),
        StateDict::Float(x) => Some(*x),
        _ => None,
    };
    match (ours, torch) {
        (StateDict::Dict(a), StateDict::Dict(b)) => {
            assert_eq!(a.len(), b.len(), "{at}: {a:?} {b:?}");
            for (key, value) in b {
                let own = a.iter().find(|(own, _)| format!("{own:?}") == format!("{key:?}"));
                assert_same(&own.unwrap_or_else(|| panic!("{at}: no {key:?}")).1, value, &format!("{at}/{key:?}"));
            }
        }
        (StateDict::List(a) | StateDict::Tuple(a), StateDict::List(b) | StateDict::Tuple(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().zip(b).for_each(|(a, b)| assert_same(a, b, at));
        }
        (StateDict::Tensor(a), StateDict::Tensor(b)) => {
            assert!(a.kind() == b.kind() && a.size() == b.size() && apart(a, b) < TOLERANCE, "{at}")
        }
        (a, b) if number(a).is_some() => assert_eq!(number(a), number(b), "{at}"),
        (a, b) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "{at}"),
    }
}

#[test]
fn a_saved_optimizer_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.pt");
    for (name, component, args) in cases() {
        let parameters = fresh();
        let ours = optimizer(component, &args, &parameters);
        run(&ours, &parameters, 0..3);
        checkpoint::save_state(&path, &ours.lock().state().unwrap()).unwrap();
        let read = checkpoint::load(&path).unwrap().state().unwrap();
        let again = optimizer(component, &args, &parameters);
        again.lock().load_state(&read).unwrap();
        assert_same(&again.lock().state().unwrap(), &read, name);
    }
}

const SCHEDULES: [(&str, &str); 8] = [
    ("step", "StepLR"),
    ("multi_step", "MultiStepLR"),
    ("exponential", "ExponentialLR"),
    ("cosine", "CosineAnnealingLR"),
    ("linear", "LinearLR"),
    ("polynomial", "PolynomialLR"),
    ("lambda", "LambdaLR"),
    ("warmup_cosine", "WarmupCosineSchedule"),
];

/// `math.cos`
struct Cosine;

impl segbundle::component::Object for Cosine {
    fn type_name(&self) -> &str {
        "function"
    }
    fn callable(&self) -> bool {
        true
    }
    fn call(
        &self,
        args: segbundle::component::Args,
        _call: &mut segbundle::component::BuildContext,
    ) -> segbundle::error::Result<Value> {
        Ok(f64::from_value(&args.positional[0]).unwrap().cos().into())
    }
}

fn schedule(name: &str, component: &str) -> (Shared<dyn Optimizer>, Shared<dyn Schedule>) {
    let group = |lr: f64| {
        let parameter =
            Value::object(Parameter::new("p", &Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true)));
        dict(vec![("params", Value::list([parameter])), ("lr", lr.into())])
    };
    let made = build("SGD", &[("params", Value::list([group(0.1), group(0.003)]))]).unwrap();
    let args: Vec<(&str, Value)> = match name {
        "step" => vec![("step_size", 4.into()), ("gamma", 0.3.into())],
        "multi_step" => vec![("milestones", vec![3, 7, 7, 20].into()), ("gamma", 0.5.into())],
        "exponential" => vec![("gamma", 0.93.into())],
        "cosine" => vec![("T_max", 7.into()), ("eta_min", 1e-5.into())],
        "linear" => vec![("start_factor", 0.25.into()), ("end_factor", 0.9.into()), ("total_iters", 11.into())],
        "polynomial" => vec![("total_iters", 12.into()), ("power", 0.9.into())],
        "lambda" => vec![("lr_lambda", Value::object(Cosine))],
        _ => vec![
            ("warmup_steps", 5.into()),
            ("t_total", 25.into()),
            ("end_lr", 1e-4.into()),
            ("warmup_multiplier", 0.1.into()),
        ],
    };
    let mut all = vec![("optimizer", made.clone())];
    all.extend(args);
    (Shared::from_value(&made).unwrap(), Shared::from_value(&build(component, &all).unwrap()).unwrap())
}

#[test]
fn learning_rates_equal_torch() {
    let (golden, states) = (golden("optimizers.pt"), torch_states());
    for (name, component) in SCHEDULES {
        let (optimizer, ours) = schedule(name, component);
        let rates = |schedule: &Shared<dyn Schedule>| schedule.lock().last_lr().to_vec();
        let mut all = vec![rates(&ours)];
        for step in 0..30 {
            ours.lock().step().unwrap();
            all.push(rates(&ours));
            let set: Vec<f64> = optimizer.lock().groups().iter().map(|group| group.lr).collect();
            assert_eq!(set, all[step + 1], "{name}");
            if let Some(torch) = states.get(&format!("schedule.{name}")).filter(|_| step == 9) {
                let (other_optimizer, other) = schedule(name, component);
                assert_same(&ours.lock().state(), torch, name);
                other.lock().load_state(torch).unwrap();
                other_optimizer.lock().load_state(&optimizer.lock().state().unwrap()).unwrap();
                other.lock().step().unwrap();
                let next = rates(&other);
                let expected = Vec::<f64>::try_from(golden[&format!("schedule.{name}")].get(11)).unwrap();
                assert_eq!(next, expected, "{name} continued");
            }
        }
        let all = Tensor::from_slice2(&all);
        assert!(
            all.equal(&golden[&format!("schedule.{name}")]),
            "{name}: {}",
            (&all - &golden[&format!("schedule.{name}")]).abs().max()
        );
    }
}

#[test]
fn bad_arguments_are_named() {
    let parameters = fresh();
    let parameter = Value::object(Parameter::new("p", &parameters[0]));
    let fails = |component: &str, args: Vec<(&str, Value)>, expected: &str| {
        let error = build(component, &args).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let params = || ("params", Value::list([parameter.clone()]));
    fails("AdamW", vec![params(), ("lr", (-1.0).into())], "`lr` is -1");
    fails("AdamW", vec![params(), ("betas", vec![0.9].into())], "two values");
    fails("AdamW", vec![params(), ("differentiable", true.into())], "differentiable");
    fails("AdamW", vec![("params", Value::list([]))], "without parameters");
    fails("AdamW", vec![("params", 3.into())], "expected parameters of a network");
    fails("AdamW", vec![("params", Value::list([parameter.clone(), parameter.clone()]))], "twice");
    fails("SGD", vec![params(), ("nesterov", true.into())], "needs a momentum");
    let group = dict(vec![("params", Value::list([parameter.clone()])), ("rate", 1.0.into())]);
    fails("SGD", vec![("params", Value::list([group]))], "`rate`");

    // A state of another network changes nothing.
    let ours = optimizer("AdamW", &[], &parameters);
    let other = build("AdamW", &[params()]).unwrap();
    let other: Shared<dyn Optimizer> = Shared::from_value(&other).unwrap();
    let error = ours.lock().load_state(&other.lock().state().unwrap()).unwrap_err().to_string();
    assert!(error.contains("has 1 parameter groups, the optimizer has 2"), "{error}");
}
