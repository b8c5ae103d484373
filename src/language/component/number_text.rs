//! Strings that look like numbers.

/// Spelling of a number that YAML 1.1 reads as a number: `1.0e-4` for `1e-4`, which YAML 1.1 reads as a string, like
/// `1.5e3` and `+.5`. Other numbers are returned unchanged; `None` if `text` is not a number.
pub fn as_number(text: &str) -> Option<String> {
    let numeric = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    if !text.contains(|c: char| c.is_ascii_digit()) || !text.chars().all(numeric) || text.parse::<f64>().is_err() {
        return None;
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut out = mantissa.strip_prefix('+').unwrap_or(mantissa).to_owned();
    if let Some(point) = out.find('.').filter(|at| !out[..*at].ends_with(|c: char| c.is_ascii_digit())) {
        out.insert(point, '0');
    }
    if let Some(exponent) = exponent {
        out += if out.contains('.') { "e" } else { ".0e" };
        out += if exponent.starts_with(['+', '-']) { "" } else { "+" };
        out += exponent;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::as_number;

    #[test]
    fn a_number_is_spelled_so_that_yaml_1_1_reads_it() {
        for (text, spelled) in [
            ("1e-4", "1.0e-4"),
            ("1E5", "1.0e+5"),
            ("-2e3", "-2.0e+3"),
            ("1.5e3", "1.5e+3"),
            ("+.5", "0.5"),
            ("-.5", "-0.5"),
            ("16", "16"),
            ("0.001", "0.001"),
        ] {
            assert_eq!(as_number(text).as_deref(), Some(spelled), "{text}");
        }
        for text in ["", "e", "-", "1e", "abc", "1-2", "nan", "inf", "1_000", "2020-01-01", "1.2.3", "0x1f"] {
            assert_eq!(as_number(text), None, "{text}");
        }
    }
}
