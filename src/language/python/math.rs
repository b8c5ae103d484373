//! `math`. Domain errors are errors as in Python, not NaN.

use super::common::{iterate, one, positional, pure, to, wrong};
use crate::component::{Args, BuildContext, Declared, FromValue, Function, Value};
use crate::error::{Kind, Result};
use crate::{args, err};

pub const CONSTANTS: super::common::Constants = &[
    ("math.pi", || std::f64::consts::PI.into()),
    ("math.tau", || std::f64::consts::TAU.into()),
    ("math.e", || std::f64::consts::E.into()),
    ("math.inf", || f64::INFINITY.into()),
    ("math.nan", || f64::NAN.into()),
];

/// One float to one float; NaN from a number that is none is Python's "math domain error", infinity its range error.
macro_rules! float {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let x: f64 = one($path, "x", args)?;
            let f: fn(f64) -> f64 = $f;
            checked($path, f(x), x.is_finite(), x.is_nan()).map(Value::Float)
        })
    };
}
/// Two floats to one.
macro_rules! float2 {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let [x, y] = args.expect($path, ["x", "y"])?;
            let (x, y): (f64, f64) = (to($path, &x)?, to($path, &y)?);
            let f: fn(f64, f64) -> f64 = $f;
            checked($path, f(x, y), x.is_finite() && y.is_finite(), x.is_nan() || y.is_nan()).map(Value::Float)
        })
    };
}
/// One float to a bool.
macro_rules! test {
    ($path:literal, $f:expr) => {
        pure($path, |args, _| {
            let x: f64 = one($path, "x", args)?;
            let f: fn(f64) -> bool = $f;
            Ok(f(x).into())
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
    float!("math.log2", |x| if x > 0.0 || x.is_nan() { x.log2() } else { f64::NAN }),
    float!("math.log10", |x| if x > 0.0 || x.is_nan() { x.log10() } else { f64::NAN }),
    float!("math.sin", f64::sin),
    float!("math.cos", f64::cos),
    float!("math.tan", f64::tan),
    float!("math.atan", f64::atan),
    float!("math.tanh", f64::tanh),
    float!("math.degrees", f64::to_degrees),
    float!("math.radians", f64::to_radians),
    float!("math.fabs", f64::abs),
    float2!("math.atan2", f64::atan2),
    float2!("math.pow", |x, y| if x == 0.0 && y < 0.0 { f64::NAN } else { x.powf(y) }),
    test!("math.isnan", f64::is_nan),
    test!("math.isinf", f64::is_infinite),
    test!("math.isfinite", f64::is_finite),
    whole!("math.floor", f64::floor),
    whole!("math.ceil", f64::ceil),
    whole!("math.trunc", f64::trunc),
    pure("math.log", log),
    pure("math.isclose", |args, _| {
        let IsClose { a, b, rel_tol, abs_tol } = IsClose::parse("math.isclose", args)?;
        let bound = (rel_tol * a.abs().max(b.abs())).max(abs_tol);
        Ok((a == b || a.is_finite() && b.is_finite() && (a - b).abs() <= bound).into())
    }),
    pure("math.prod", |args, call| {
        let Prod { iterable, start } = Prod::parse("math.prod", args)?;
        let items = iterate("math.prod", &iterable, call)?;
        let whole = items.iter().chain([&start]).all(|item| i64::from_value(item).is_some());
        if whole {
            let product = items.iter().chain([&start]).filter_map(i64::from_value).try_fold(1i64, i64::checked_mul);
            return product.map(Value::Int).ok_or_else(|| too_large("math.prod"));
        }
        items
            .iter()
            .try_fold(to("math.prod", &start)?, |p, item| Ok(p * to::<f64>("math.prod", item)?))
            .map(Value::Float)
    }),
];

args! {
    struct IsClose {
        a: f64,
        b: f64,
        rel_tol: f64 = 1e-9,
        abs_tol: f64 = 0.0,
    }
}
args! {
    struct Prod {
        iterable: Value,
        start: Value = 1,
    }
}

fn checked(name: &str, result: f64, finite: bool, nan: bool) -> Result<f64> {
    if result.is_nan() && !nan {
        return Err(err!("{name}: math domain error").kind(Kind::Config));
    }
    if result.is_infinite() && finite {
        return Err(err!("{name}: math range error").kind(Kind::Config));
    }
    Ok(result)
}

/// A whole float as an int.
pub fn to_int(name: &str, x: f64) -> Result<Value> {
    // 2^63 is the first float beyond.
    if x.is_finite() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x) {
        return Ok(Value::Int(x as i64));
    }
    Err(err!("{name}: cannot convert {:?} to a 64-bit integer", Value::Float(x)).kind(Kind::Config))
}

fn too_large(name: &str) -> crate::error::Error {
    err!("{name}: the result is beyond 64-bit integers").kind(Kind::Config)
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
