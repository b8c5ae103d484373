//! `repr` and `str` as NumPy and torch print.

use super::{Array, Flavour, Type};
use crate::component::Value;

/// Beyond this many elements only the edges are shown.
const THRESHOLD: usize = 1000;
const EDGE: usize = 3;

pub(super) fn repr(array: &Array) -> String {
    let suffix = |default: &[Type]| match default.contains(&array.ty) {
        true => String::new(),
        false => match array.flavour {
            Flavour::Numpy => format!(", dtype={}", array.ty.name()),
            Flavour::Torch => format!(", dtype=torch.{}", array.ty.name()),
        },
    };
    match array.flavour {
        Flavour::Torch => {
            let body = if array.is_empty() { "[]".into() } else { body(array, "tensor(".len(), ", ") };
            let size = if array.is_empty() && array.ndim() > 1 {
                format!(", size={:?}", Value::from(sizes(array)))
            } else {
                String::new()
            };
            let size = size.replace('[', "(").replace(']', ")");
            format!("tensor({body}{size}{})", suffix(&[Type::F32, Type::I64, Type::Bool]))
        }
        Flavour::Numpy if array.ndim() == 0 => {
            let own = array.item().map_or_else(|_| String::new(), |value| scalar(array, &value));
            if array.ty == Type::Bool { format!("np.{own}_") } else { format!("np.{}({own})", array.ty.name()) }
        }
        Flavour::Numpy if array.is_empty() => {
            let plain = array.ndim() == 1;
            let shape = if plain {
                String::new()
            } else {
                format!(", shape={:?}", Value::tuple(sizes(array).into_iter().map(Value::Int)))
            };
            format!("array([]{shape}, dtype={})", array.ty.name())
        }
        Flavour::Numpy => {
            // Where elements are left out, the shape is told.
            let cut = array.len() > THRESHOLD;
            let shape = if cut {
                format!(", shape={:?}", Value::tuple(sizes(array).into_iter().map(Value::Int)))
            } else {
                String::new()
            };
            format!(
                "array({}{shape}{})",
                body(array, "array(".len(), ", "),
                suffix(&[Type::F64, Type::I64, Type::Bool])
            )
        }
    }
}

pub(super) fn text(array: &Array) -> String {
    match array.flavour {
        Flavour::Torch => repr(array),
        Flavour::Numpy if array.ndim() == 0 => {
            array.item().map_or_else(|_| String::new(), |value| scalar(array, &value))
        }
        Flavour::Numpy if array.is_empty() => "[]".into(),
        Flavour::Numpy => body(array, 0, " "),
    }
}

fn sizes(array: &Array) -> Vec<i64> {
    array.shape().iter().map(|n| *n as i64).collect()
}

/// The shortest digits that give the number back in its type.
fn scalar(array: &Array, value: &Value) -> String {
    match value {
        Value::Float(x) => {
            let shortest = shortest(*x, array.ty).parse().unwrap_or(*x);
            format!("{:?}", Value::Float(shortest))
        }
        value => format!("{value:?}"),
    }
}

fn shortest(x: f64, ty: Type) -> String {
    match ty {
        Type::F32 => format!("{}", x as f32),
        Type::F16 | Type::BF16 => {
            // The fewest significant digits that round back.
            (0..8)
                .map(|digits| format!("{x:.digits$e}"))
                .find(|text| text.parse().is_ok_and(|y: f64| ty.hold(y) == x))
                .map_or_else(|| format!("{x}"), |text| format!("{}", text.parse::<f64>().unwrap_or(x)))
        }
        _ => format!("{x}"),
    }
}

/// Indices that are shown of an axis; `None` where some are left out.
fn shown(n: usize, cut: bool) -> Vec<Option<usize>> {
    if cut && n > 2 * EDGE {
        return (0..EDGE).map(Some).chain([None]).chain((n - EDGE..n).map(Some)).collect();
    }
    (0..n).map(Some).collect()
}

/// Brackets and numbers, for an opening that takes `indent` columns.
fn body(array: &Array, indent: usize, separator: &str) -> String {
    let cut = array.len() > THRESHOLD;
    let mut values = vec![];
    collect(array, cut, &mut values);
    let format = match array.flavour {
        Flavour::Numpy => numpy_format(&values, array.ty),
        Flavour::Torch => torch_format(&values, array.ty),
    };
    let lines = Lines { format, separator, cut, flavour: array.flavour };
    match array.flavour {
        Flavour::Numpy => lines.nested(array, indent + 1, 75),
        Flavour::Torch => lines.nested(array, indent + 1, 80),
    }
}

fn collect(array: &Array, cut: bool, values: &mut Vec<f64>) {
    if array.ndim() <= 1 {
        let all = array.values();
        let at = |i: Option<usize>| i.and_then(|i| all.get(i)).copied();
        values.extend(if array.ndim() == 0 {
            all.clone()
        } else {
            shown(all.len(), cut).into_iter().filter_map(at).collect()
        });
        return;
    }
    let rows = array.rows();
    shown(rows.len(), cut).into_iter().flatten().for_each(|i| collect(&rows[i], cut, values));
}

struct Lines<'a> {
    format: Box<dyn Fn(f64) -> String>,
    separator: &'a str,
    cut: bool,
    flavour: Flavour,
}

impl Lines<'_> {
    /// `indent`: columns before the elements of this level; `width`: columns of a line.
    fn nested(&self, array: &Array, indent: usize, width: usize) -> String {
        match array.ndim() {
            0 => array.data.first().map_or(String::new(), |x| (self.format)(*x).trim_start().to_owned()),
            1 => self.row(&array.values(), indent, width),
            levels => {
                let rows = array.rows();
                let gap = format!("{}{}{}", self.separator.trim_end(), "\n".repeat(levels - 1), " ".repeat(indent));
                let parts: Vec<String> = shown(rows.len(), self.cut)
                    .into_iter()
                    .map(|i| {
                        i.map_or("...".into(), |i| {
                            self.nested(
                                &rows[i],
                                indent + 1,
                                if self.flavour == Flavour::Numpy { width - 1 } else { width },
                            )
                        })
                    })
                    .collect();
                format!("[{}]", parts.join(&gap))
            }
        }
    }

    fn row(&self, values: &[f64], indent: usize, width: usize) -> String {
        let gap = if self.flavour == Flavour::Torch { " ..." } else { "..." };
        let words: Vec<String> = shown(values.len(), self.cut)
            .into_iter()
            .map(|i| i.map_or(gap.into(), |i| (self.format)(values[i])))
            .collect();
        if self.flavour == Flavour::Torch {
            let longest = words.iter().map(String::len).max().unwrap_or(0);
            let each = ((width.saturating_sub(indent)) / (longest + 2)).max(1);
            let lines: Vec<String> = words.chunks(each).map(|line| line.join(", ")).collect();
            return format!("[{}]", lines.join(&format!(",\n{}", " ".repeat(indent))));
        }
        let (mut text, mut line) = (String::new(), " ".repeat(indent));
        for (i, word) in words.iter().enumerate() {
            if line.len() + word.len() > width - 1 && line.len() > indent {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(indent);
            }
            line.push_str(word);
            if i + 1 < words.len() {
                line.push_str(self.separator);
            }
        }
        text.push_str(&line);
        format!("[{}]", &text[indent..])
    }
}

fn bool_word(x: f64) -> &'static str {
    if x != 0.0 { "True" } else { "False" }
}

/// All words as wide as the widest.
fn padded(values: &[f64], word: impl Fn(f64) -> String + 'static) -> Box<dyn Fn(f64) -> String> {
    let width = values.iter().map(|x| word(*x).chars().count()).max().unwrap_or(0);
    Box::new(move |x| format!("{:>width$}", word(x)))
}

/// Least and greatest of the sizes that are neither zero nor infinite.
fn span(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .map(|x| x.abs())
        .filter(|x| x.is_finite() && *x != 0.0)
        .fold((f64::INFINITY, 0.0), |(low, high), x| (low.min(x), high.max(x)))
}

fn numpy_format(values: &[f64], ty: Type) -> Box<dyn Fn(f64) -> String> {
    if ty == Type::Bool {
        return Box::new(|x| format!("{:>5}", bool_word(x)));
    }
    if !ty.is_float() {
        return padded(values, |x| format!("{x}"));
    }
    let (low, high) = span(values);
    let scientific = high > 0.0 && (high >= 1e8 || low < 1e-4 || high / low > 1000.0);
    let special = |x: f64| {
        if x.is_nan() {
            Some("nan")
        } else if x.is_infinite() {
            Some(if x > 0.0 { "inf" } else { "-inf" })
        } else {
            None
        }
    };
    if scientific {
        let digits_of = move |x: f64| {
            let short = shortest(x, ty).parse::<f64>().unwrap_or(x);
            let text = format!("{short:e}");
            let mantissa = text.split('e').next().unwrap_or("").to_owned();
            mantissa.split_once('.').map_or(0, |(_, digits)| digits.len()).min(8)
        };
        let digits = values.iter().filter(|x| x.is_finite()).map(|x| digits_of(*x)).max().unwrap_or(0);
        return padded(values, move |x| {
            if let Some(word) = special(x) {
                return word.into();
            }
            let text = format!("{x:.digits$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!(
                "{mantissa}{}e{}{:02}",
                if digits == 0 { "." } else { "" },
                if exponent < 0 { '-' } else { '+' },
                exponent.abs()
            )
        });
    }
    // Shortest digits, at most eight after the point, points aligned.
    let plain = move |x: f64| {
        let text = shortest(x, ty);
        let text = if text.split_once('.').is_some_and(|(_, digits)| digits.len() > 8) {
            format!("{x:.8}").trim_end_matches('0').to_owned()
        } else {
            text
        };
        if text.contains('.') { text } else { text + "." }
    };
    let after = |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.len());
    let right = values.iter().filter(|x| x.is_finite()).map(|x| after(&plain(*x))).max().unwrap_or(0);
    padded(values, move |x| {
        if let Some(word) = special(x) {
            return word.into();
        }
        let text = plain(x);
        let fill = right - after(&text).min(right);
        text + &" ".repeat(fill)
    })
}

fn torch_format(values: &[f64], ty: Type) -> Box<dyn Fn(f64) -> String> {
    if ty == Type::Bool {
        return padded(values, |x| bool_word(x).into());
    }
    if !ty.is_float() {
        return padded(values, |x| format!("{x}"));
    }
    let (low, high) = span(values);
    let whole = values.iter().all(|x| !x.is_finite() || x.fract() == 0.0);
    let wide = high > 0.0 && (high / low > 1000.0 || high > 1e8);
    // Only these decide the width.
    let wide_ones: Vec<f64> = values.iter().copied().filter(|x| x.is_finite() && *x != 0.0).collect();
    let scientific = wide || !whole && high > 0.0 && low < 1e-4;
    padded(&wide_ones, move |x| {
        if x.is_nan() {
            return "nan".into();
        }
        if x.is_infinite() {
            return if x > 0.0 { "inf" } else { "-inf" }.into();
        }
        if scientific {
            let text = format!("{x:.4e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        }
        if whole { format!("{x:.0}.") } else { format!("{x:.4}") }
    })
}
