//! `template % values`.

use super::format::{self, as_float, padded};
use super::{as_integer, index, numbers};
use crate::component::{BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};

#[derive(Default)]
struct Flags {
    left: bool,
    sign: bool,
    space: bool,
    zero: bool,
    alternate: bool,
}

struct Values<'a> {
    all: &'a Value,
    items: Vec<Value>,
    next: usize,
}

impl Values<'_> {
    fn take(&mut self) -> Result<Value> {
        self.next += 1;
        self.items.get(self.next - 1).cloned().ok_or_else(|| err!("not enough arguments for format string"))
    }
}

pub fn format(template: &str, values: &Value, call: &mut BuildContext) -> Result<String> {
    let mut values = Values {
        all: values,
        items: if let Value::Tuple(items) = values { items.to_vec() } else { vec![values.clone()] },
        next: 0,
    };
    let mut out = String::new();
    let mut rest = template;
    let mut mapped = false;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut item = None;
        if let Some(after) = rest.strip_prefix('(') {
            let end = after.find(')').ok_or_else(|| err!("incomplete format key"))?;
            if !matches!(values.all, Value::Dict(_) | Value::Object(_)) {
                bail!("format requires a mapping");
            }
            item = Some(index::index(values.all, &Value::str(&after[..end]), call)?);
            mapped = true;
            rest = &after[end + 1..];
        }
        let mut flags = Flags::default();
        while let Some(c) = rest.chars().next() {
            match c {
                '-' => flags.left = true,
                '+' => flags.sign = true,
                ' ' => flags.space = true,
                '0' => flags.zero = true,
                '#' => flags.alternate = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let width = amount(&mut rest, &mut values)?;
        if width.is_some_and(|width| width < 0) {
            flags.left = true;
        }
        let width = usize::try_from(width.unwrap_or(0).unsigned_abs()).unwrap_or(usize::MAX);
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            precision = Some(usize::try_from(amount(&mut rest, &mut values)?.unwrap_or(0)).unwrap_or(0));
        }
        rest = rest.trim_start_matches(['h', 'l', 'L']);
        let Some(kind) = rest.chars().next() else { bail!("incomplete format") };
        rest = &rest[kind.len_utf8()..];
        call.charge(width.saturating_add(precision.unwrap_or(0)).saturating_add(1))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match item {
            Some(value) => value,
            None => values.take()?,
        };
        out.push_str(&one(&value, kind, &flags, width, precision, call)?);
    }
    out.push_str(rest);
    call.charge(out.len())?;
    let unused = values.next < values.items.len() && !mapped;
    if unused && !matches!(values.all, Value::Dict(_) | Value::List(_)) {
        bail!("not all arguments converted during string formatting");
    }
    Ok(out)
}

/// Digits, or `*` for the next value.
fn amount(rest: &mut &str, values: &mut Values) -> Result<Option<i64>> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return as_integer(&values.take()?).map(Some).ok_or_else(|| err!("* wants int"));
    }
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse::<i32>().map(|digits| Some(i64::from(digits))).map_err(|_| err!("width or precision too big"))
}

fn one(
    value: &Value,
    kind: char,
    flags: &Flags,
    width: usize,
    precision: Option<usize>,
    call: &mut BuildContext,
) -> Result<String> {
    let align = if flags.left { '<' } else { '>' };
    let sign = |negative: bool| match (negative, flags.sign, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let (fill, number_align) = if flags.zero && !flags.left { ('0', '=') } else { (' ', align) };
    match kind {
        's' | 'r' | 'a' => {
            let text = format::converted(value, kind, call)?;
            let text: String = text.chars().take(precision.unwrap_or(usize::MAX)).collect();
            Ok(padded("", &text, ' ', align, width))
        }
        'c' => {
            let c = match value {
                Value::Str(text) if text.chars().count() == 1 => text.to_string(),
                value => super::strs::character(as_integer(value).ok_or_else(|| err!("%c requires int or char"))?)?
                    .to_string(),
            };
            Ok(padded("", &c, ' ', align, width))
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let number = match value {
                Value::Float(x) if matches!(kind, 'd' | 'i' | 'u') => Some(numbers::to_int(*x)?),
                value => as_integer(value),
            };
            let number =
                number.ok_or_else(|| err!("%{kind} format: a number is required, not {}", value.type_name()))?;
            let (radix, prefix) = match kind {
                'x' => (16, "0x"),
                'X' => (16, "0X"),
                'o' => (8, "0o"),
                _ => (10, ""),
            };
            let digits = format::in_radix(number.unsigned_abs(), radix, kind == 'X');
            let digits = padded("", &digits, '0', '>', precision.unwrap_or(0));
            let head = format!("{}{}", sign(number < 0), if flags.alternate { prefix } else { "" });
            Ok(padded(&head, &digits, fill, number_align, width))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let x = as_float(value).ok_or_else(|| err!("must be real number, not {}", value.type_name()))?;
            let digits = format::digits(x, Some(kind), precision, flags.alternate);
            let fill = if x.is_finite() { fill } else { ' ' };
            Ok(padded(
                sign(x.is_sign_negative() && !x.is_nan()),
                &digits,
                fill,
                if fill == '0' { '=' } else { align },
                width,
            ))
        }
        other => bail!("unsupported format character '{other}'"),
    }
}
