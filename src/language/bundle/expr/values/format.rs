//! Python's format specifications: `format(value, spec)`, f-strings, `str.format`.

use crate::component::{BuildContext, FromValue, Value};
use crate::error::Result;
use crate::{bail, err};
use fancy_regex::Regex;
use std::sync::LazyLock;

/// Format specification `[[fill]align][sign][0][width][grouping][.precision][type]`; `kind` is its type.
#[derive(Debug, Clone, Copy)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    fn parse(text: &str) -> Result<Spec> {
        // Matching takes linear time: there are no lookarounds.
        static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
            Regex::new("(?s)^(?:(.)?([<>=^]))?([-+ ])?(0)?([0-9]+)?([,_])?(?:[.]([0-9]*))?(.)?$").ok()
        });
        let found = PATTERN.as_ref().and_then(|pattern| pattern.captures(text).ok().flatten());
        let found = found.ok_or_else(|| err!("invalid format specifier '{text}'"))?;
        let part = |at: usize| found.get(at).map(|part| part.as_str());
        let char = |at: usize| part(at).and_then(|part| part.chars().next());
        let digits = |at: usize| match part(at) {
            Some("") => Err(err!("format specifier missing precision")),
            digits => digits.map(str::parse).transpose().map_err(|_| err!("too many decimal digits in format string")),
        };
        Ok(Spec {
            fill: char(1),
            align: char(2),
            sign: char(3),
            zero: char(4).is_some(),
            width: digits(5)?.unwrap_or(0),
            grouping: char(6),
            precision: digits(7)?,
            kind: char(8),
        })
    }
}

/// Evaluate `format(value, spec)`.
pub fn format(value: &Value, spec_text: &str, call: &mut BuildContext) -> Result<String> {
    if spec_text.is_empty() {
        let text = value.to_string();
        call.charge(text.len() / 16 + 1)?;
        return Ok(text);
    }
    let spec = Spec::parse(spec_text)?;
    call.charge(spec.width.saturating_add(spec.precision.unwrap_or(0)))?;
    match value {
        Value::Str(text) => string(text, &spec),
        Value::Bool(_) if spec.kind == Some('s') => Err(unknown_code('s', "bool")),
        Value::Bool(b) => integer(i64::from(*b), &spec),
        Value::Int(i) => integer(*i, &spec),
        Value::Float(x) => float(*x, &spec, "float"),
        Value::Object(object) => {
            // Scalars of NumPy and torch are formatted as numbers.
            if let Ok(Some(Value::Int(i))) = object.attr("__index__") {
                return integer(i, &spec);
            }
            f64::from_value(value).map_or_else(|| Err(unsupported(value)), |x| float(x, &spec, "float"))
        }
        other => Err(unsupported(other)),
    }
}

fn unsupported(value: &Value) -> crate::error::Error {
    err!("unsupported format string passed to {}.__format__", value.type_name()).hint("convert it first: `str(…)`")
}

fn unknown_code(kind: char, what: &str) -> crate::error::Error {
    err!("unknown format code '{kind}' for object of type '{what}'")
}

fn string(text: &str, spec: &Spec) -> Result<String> {
    match spec.kind {
        None | Some('s') => {}
        Some(kind) => return Err(unknown_code(kind, "str")),
    }
    if spec.sign.is_some() {
        bail!("a sign is not allowed in a string's format specifier");
    }
    if let Some(grouping) = spec.grouping {
        bail!("cannot specify '{grouping}' with 's'");
    }
    let align = spec.align.unwrap_or('<');
    if align == '=' {
        bail!("'=' alignment not allowed in string format specifier");
    }
    let text: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    Ok(padded("", &text, fill, align, spec.width))
}

fn integer(i: i64, spec: &Spec) -> Result<String> {
    let decimal = matches!(spec.kind, None | Some('d'));
    if let Some(grouping) = spec.grouping.filter(|_| !decimal) {
        bail!("cannot specify '{grouping}' with '{}'", spec.kind.unwrap_or_default());
    }
    let digits = i.unsigned_abs();
    let digits = match spec.kind {
        None | Some('d') => digits.to_string(),
        Some('b') => format!("{digits:b}"),
        Some('o') => format!("{digits:o}"),
        Some('x') => format!("{digits:x}"),
        Some('X') => format!("{digits:X}"),
        Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => return float(i as f64, spec, "int"),
        Some(kind) => return Err(unknown_code(kind, "int")),
    };
    if spec.precision.is_some() {
        bail!("precision not allowed in integer format specifier");
    }
    number(i < 0, &digits, "", spec)
}

fn float(x: f64, spec: &Spec, what: &str) -> Result<String> {
    let kind = spec.kind;
    if kind.is_some_and(|kind| !"eEfFgG%".contains(kind)) {
        return Err(unknown_code(kind.unwrap_or(' '), what));
    }
    let body = digits(x, kind, spec.precision);
    let negative = x.is_sign_negative() && !x.is_nan();
    // Grouping applies to the digits before the decimal point or exponent.
    let end = if x.is_finite() { body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len()) } else { body.len() };
    let (whole, rest) = body.split_at(end);
    if !x.is_finite() {
        return number(negative, &body, "", &Spec { grouping: None, ..*spec });
    }
    number(negative, whole, rest, spec)
}

/// Digits of `|x|` for a type and a precision.
fn digits(x: f64, kind: Option<char>, precision: Option<usize>) -> String {
    let upper = matches!(kind, Some('E' | 'F' | 'G'));
    let magnitude = x.abs();
    let mut text = if !x.is_finite() {
        let name = if x.is_nan() { "nan" } else { "inf" };
        if kind == Some('%') { format!("{name}%") } else { name.into() }
    } else {
        match kind.map(|kind| kind.to_ascii_lowercase()) {
            Some('e') => exponent_form(magnitude, precision.unwrap_or(6)),
            Some('f') => fixed(magnitude, precision.unwrap_or(6)),
            Some('%') => fixed(magnitude * 100.0, precision.unwrap_or(6)) + "%",
            Some(_) => general(magnitude, precision.unwrap_or(6).max(1), false),
            None => match precision {
                None => format!("{:?}", Value::Float(magnitude)),
                Some(precision) => general(magnitude, precision.max(1), true),
            },
        }
    };
    if upper {
        text.make_ascii_uppercase();
    }
    text
}

/// Maximum number of non-zero decimals of a float; the standard library's formatter supports at most 2^16.
const EXACT_DIGITS: usize = 1100;

fn fixed(x: f64, precision: usize) -> String {
    let kept = precision.min(EXACT_DIGITS);
    format!("{x:.kept$}") + &"0".repeat(precision - kept)
}

fn exponent_form(x: f64, precision: usize) -> String {
    let kept = precision.min(EXACT_DIGITS);
    let text = format!("{x:.kept$e}");
    let zeros = "0".repeat(precision - kept);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}{zeros}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Format `g`: significant digits without trailing zeros. With `as_float` (no type given) the result has a decimal
/// point or an exponent.
fn general(x: f64, precision: usize, as_float: bool) -> String {
    let text = format!("{x:.*e}", (precision - 1).min(EXACT_DIGITS));
    let exponent: i64 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let limit = precision as i64 - i64::from(as_float);
    let strip = |text: String| -> String {
        if !text.contains('.') {
            return text;
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if exponent < -4 || exponent >= limit {
        let (mantissa, _) = text.split_once('e').unwrap_or((&text, ""));
        return format!("{}e{}{:02}", strip(mantissa.to_owned()), if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let text = strip(format!("{x:.*}", ((precision as i64 - 1 - exponent).max(0) as usize).min(EXACT_DIGITS)));
    if as_float && !text.contains('.') { text + ".0" } else { text }
}

/// Combine sign, grouped digits and the rest, with padding.
fn number(negative: bool, whole: &str, rest: &str, spec: &Spec) -> Result<String> {
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    };
    let zero_padded = spec.zero && spec.align.is_none();
    let align = spec.align.unwrap_or(if zero_padded { '=' } else { '>' });
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let whole = match spec.grouping {
        Some(separator) => {
            // Padding zeros are grouped, too.
            let least =
                if fill == '0' && align == '=' { spec.width.saturating_sub(sign.len() + rest.len()) } else { 0 };
            grouped(whole, separator, least)
        }
        None => whole.to_owned(),
    };
    Ok(padded(sign, &(whole + rest), fill, align, spec.width))
}

fn grouped(digits: &str, separator: char, least: usize) -> String {
    let mut out: Vec<char> = Vec::new();
    let mut source = digits.chars().rev();
    let mut count = 0;
    loop {
        let next = source.next();
        if next.is_none() && out.len() >= least {
            break;
        }
        if count > 0 && count % 3 == 0 {
            out.push(separator);
        }
        out.push(next.unwrap_or('0'));
        count += 1;
    }
    out.into_iter().rev().collect()
}

/// Pad to the width; `head` (sign and prefix) precedes the fill for the alignment `=`.
fn padded(head: &str, body: &str, fill: char, align: char, width: usize) -> String {
    let gap = width.saturating_sub(head.chars().count() + body.chars().count());
    let fill_of = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    match align {
        '<' => format!("{head}{body}{}", fill_of(gap)),
        '^' => format!("{}{head}{body}{}", fill_of(gap / 2), fill_of(gap - gap / 2)),
        '=' => format!("{head}{}{body}", fill_of(gap)),
        _ => format!("{}{head}{body}", fill_of(gap)),
    }
}

/// `repr` or `str` of a value, for the conversions `!r` and `!s`.
pub fn converted(value: &Value, conversion: char, call: &mut BuildContext) -> Result<String> {
    let text = match conversion {
        'r' => format!("{value:?}"),
        _ => value.to_string(),
    };
    call.charge(text.len() / 16 + 1)?;
    Ok(text)
}
