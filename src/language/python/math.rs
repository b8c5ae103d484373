//! `math`. Domain errors are errors as in Python, not NaN.

use super::common::{one, positional, pure, to, wrong};
use crate::component::{Args, BuildContext, FromValue, Function, Value};
use crate::err;
use crate::error::{Kind, Result};

pub const CONSTANTS: super::common::Constants = &[
    ("math.pi", || std::f64::consts::PI.into()),
    ("math.inf", || f64::INFINITY.into()),
    ("math.nan", || f64::NAN.into()),
];

/// One float to one float; NaN from a number that is none is Python's "math domain error", infinity its range error.
macro_rules! float {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let x: f64 = one($path, "x", args)?;
            let f: fn(f64) -> f64 = $f;
            match f(x) {
                y if y.is_nan() && !x.is_nan() => Err(err!("{}: math domain error", $path).kind(Kind::Config)),
                y if y.is_infinite() && x.is_finite() => Err(err!("{}: math range error", $path).kind(Kind::Config)),
                y => Ok(Value::Float(y)),
            }
        })
    };
}
/// One float to an int; an int stays itself.
macro_rules! whole {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let [x] = args.expect($path, ["x"])?;
            if let Some(i) = i64::from_value(&x) {
                return Ok(Value::Int(i));
            }
            let f: fn(f64) -> f64 = $f;
            to_int($path, f(to($path, &x)?))
        })
    };
}

pub const FUNCTIONS: &[Function] = &[
    float!("math.sqrt", f64::sqrt),
    float!("math.exp", f64::exp),
    whole!("math.floor", f64::floor),
    whole!("math.ceil", f64::ceil),
    pure("math.log", log),
];

/// A whole float as an int.
pub fn to_int(name: &str, x: f64) -> Result<Value> {
    // 2^63 is the first float beyond.
    if x.is_finite() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x) {
        return Ok(Value::Int(x as i64));
    }
    Err(err!("{name}: cannot convert {:?} to a 64-bit integer", Value::Float(x)).kind(Kind::Config))
}

fn log(args: Args, _: &mut BuildContext) -> Result<Value> {
    let values = positional("math.log", args)?;
    let ln = |value: &Value| match to::<f64>("math.log", value)? {
        x if x > 0.0 || x.is_nan() => Ok(x.ln()),
        _ => Err(err!("math.log: math domain error").kind(Kind::Config)),
    };
    match &values[..] {
        [x] => Ok(Value::Float(ln(x)?)),
        [x, base] => match ln(base)? {
            0.0 => Err(err!("math.log: division by zero").kind(Kind::Config)),
            base => Ok(Value::Float(ln(x)? / base)),
        },
        _ => Err(wrong("math.log", "x and an optional base", &Value::tuple(values))),
    }
}
