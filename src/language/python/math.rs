//! `math`. Domain and range errors are errors, as in Python.

use super::common::{one, positional, pure, to, wrong};
use crate::bundle::expr::values::to_int;
use crate::component::{Args, BuildContext, FromValue, Function, Value};
use crate::err;
use crate::error::{Kind, Result};

pub const CONSTANTS: super::common::Constants = &[
    ("math.pi", || std::f64::consts::PI.into()),
    ("math.inf", || f64::INFINITY.into()),
    ("math.nan", || f64::NAN.into()),
];

/// Declares a function of a float. A NaN result is Python's "math domain error", infinity its "math range error".
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
/// Declares a function that rounds a float to an int and returns ints unchanged.
macro_rules! whole {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let [x] = args.expect($path, ["x"])?;
            if let Some(i) = i64::from_value(&x) {
                return Ok(Value::Int(i));
            }
            let f: fn(f64) -> f64 = $f;
            to_int(f(to($path, &x)?)).map(Value::Int).map_err(|error| error.context($path).kind(Kind::Config))
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
