//! Arithmetic of ints and floats where Rust's differs from Python's.

use crate::component::Value;
use crate::error::Result;
use crate::{bail, err};

/// `x / y` of ints, correctly rounded.
pub fn divide(x: i64, y: i64) -> Result<f64> {
    const EXACT: u64 = 1 << 53;
    if y == 0 {
        bail!("division by zero");
    }
    let (a, b) = (x.unsigned_abs(), y.unsigned_abs());
    if a <= EXACT && b <= EXACT {
        return Ok(x as f64 / y as f64);
    }
    if a == 0 {
        return Ok(0.0);
    }
    // The quotient has at least 64 bits, the last of them sticky: only its conversion to f64 rounds.
    let shift = u128::from(a).leading_zeros();
    let dividend = u128::from(a) << shift;
    let quotient = (dividend / u128::from(b)) | u128::from(dividend % u128::from(b) != 0);
    let magnitude = quotient as f64 * 2f64.powi(-(shift as i32));
    Ok(if (x < 0) == (y < 0) { magnitude } else { -magnitude })
}

/// `x // y` and `x % y` of floats, by CPython's algorithm.
pub fn divmod(x: f64, y: f64) -> Result<(f64, f64)> {
    if y == 0.0 {
        bail!("float floor division or modulo by zero");
    }
    let mut rest = x % y;
    let mut quotient = (x - rest) / y;
    if rest == 0.0 {
        rest = 0f64.copysign(y);
    } else if (y < 0.0) != (rest < 0.0) {
        rest += y;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return Ok((0f64.copysign(x / y), rest));
    }
    let floor = quotient.floor();
    Ok((if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest))
}

/// `x ** y` of ints: an int, or a float where `y` is negative.
pub fn power(x: i64, y: i64) -> Result<Value> {
    if y < 0 {
        return float_power(x as f64, y as f64).map(Value::Float);
    }
    let small = match x {
        0 => Some(i64::from(y == 0)),
        1 => Some(1),
        -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
        _ => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
    };
    small.map(Value::Int).ok_or_else(|| {
        err!("integer overflow: {x} ** {y} does not fit into 64 bits").hint("compute with floats: `2.0 ** 70`")
    })
}

/// `x ** y` of floats.
pub fn float_power(x: f64, y: f64) -> Result<f64> {
    if x == 0.0 && y < 0.0 {
        bail!("0.0 cannot be raised to a negative power");
    }
    if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
        bail!("a negative number to a fractional power is complex, which is not supported");
    }
    let result = x.powf(y);
    if result.is_infinite() && x.is_finite() && y.is_finite() {
        bail!("float overflow: {x} ** {y} is too large");
    }
    Ok(result)
}

/// Truncate a float to an int.
pub fn to_int(x: f64) -> Result<i64> {
    if x.is_nan() {
        bail!("cannot convert float NaN to integer");
    }
    if x.is_infinite() {
        bail!("cannot convert float infinity to integer");
    }
    let whole = x.trunc();
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole) {
        return Ok(whole as i64);
    }
    Err(err!("integer overflow: {x} does not fit into 64 bits"))
}

/// `round(x, digits)` of a float, half to even; digits after the point are rounded on the exact decimal value.
pub fn round_float(x: f64, digits: i64) -> f64 {
    if !x.is_finite() || digits > 323 {
        return x;
    }
    if digits >= 0 {
        return format!("{x:.*}", digits as usize).parse().unwrap_or(x);
    }
    let unit = 10f64.powi(digits.unsigned_abs().min(400) as i32);
    if unit.is_finite() { (x / unit).round_ties_even() * unit } else { 0f64.copysign(x) }
}

/// `round(x, digits)` of an int, half to even.
pub fn round_int(x: i64, digits: i64) -> Result<i64> {
    if digits >= 0 {
        return Ok(x);
    }
    if digits < -19 {
        return Ok(0);
    }
    let unit = 10i128.pow(digits.unsigned_abs() as u32);
    let x = i128::from(x);
    let (mut quotient, rest) = (x.div_euclid(unit), x.rem_euclid(unit));
    if rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0) {
        quotient += 1;
    }
    i64::try_from(quotient * unit).map_err(|_| err!("integer overflow: the rounded value does not fit into 64 bits"))
}
