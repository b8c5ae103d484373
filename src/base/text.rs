//! Reads UTF-8 text files, with or without a byte order mark, and formats sizes, durations and counts for messages.

use crate::err;
use crate::error::{Error, Kind, Result};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// A size in binary units, as those of `--max-memory`: `1.5 MiB`.
pub fn bytes(size: u64) -> String {
    let (kib, mib, gib) = (1 << 10, 1 << 20, 1 << 30);
    let shown = |unit: u64, digits: usize| format!("{:.digits$}", size as f64 / unit as f64);
    match size {
        _ if size < 100 * kib => format!("{} KiB", shown(kib, 0)),
        _ if size < 10 * mib => format!("{} MiB", shown(mib, 1)),
        _ if size < gib => format!("{} MiB", shown(mib, 0)),
        _ => format!("{} GiB", shown(gib, 1)),
    }
}

/// A duration: `0 s`, `40 ms`, `1.5 s`, `41 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(of: Duration) -> String {
    let seconds = of.as_secs_f64();
    let whole = seconds.round() as u64;
    match whole {
        _ if of.is_zero() => "0 s".into(),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `text` with its control characters, which a terminal would obey, escaped, except for line breaks and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_control) {
        return text.into();
    }
    let escape = |c: char| if is_control(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// `1 case`, `2 cases`
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Reads a text file.
///
/// # Errors
/// The file cannot be read, is larger than `max_bytes`, or is not UTF-8. The error names the file.
pub fn read(path: impl AsRef<Path>, max_bytes: u64) -> Result<String> {
    let path = path.as_ref();
    let size = std::fs::metadata(path).map_err(|e| err!("cannot read the file: {e}").file(path))?.len();
    if size > max_bytes {
        let error = err!("expected a text file of at most {max_bytes} bytes, found {size} bytes").kind(Kind::Config);
        return Err(error.file(path));
    }
    let bytes = std::fs::read(path).map_err(|e| err!("cannot read the file: {e}").file(path))?;
    decode(bytes).map_err(|error| error.file(path))
}

/// Decodes UTF-8 and removes the byte order mark.
///
/// # Errors
/// The bytes are not UTF-8. UTF-16 and UTF-32 are recognized and named in the message.
pub fn decode(mut bytes: Vec<u8>) -> Result<String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    if let Some(encoding) = wide_encoding(&bytes) {
        return Err(not_utf8(format!("expected UTF-8, found {encoding}")));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        not_utf8(format!("expected UTF-8, found invalid bytes in line {line}"))
    })
}

fn not_utf8(message: String) -> Error {
    Error::config(message).hint("save the file as UTF-8")
}

/// Detects UTF-16 and UTF-32 by the byte order mark or by the zero bytes of a first ASCII character.
fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, 0, ..] | [0, first, ..] if *first != 0 => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        let sizes = [0, 20 << 10, 100 << 10, 3 << 19, 70 << 20, 1 << 30, 43 << 28];
        let expected = ["0 KiB", "20 KiB", "0.1 MiB", "1.5 MiB", "70 MiB", "1.0 GiB", "10.8 GiB"];
        assert_eq!(sizes.map(bytes), expected);
    }

    #[test]
    fn durations_have_units() {
        let seconds = [0.0, 0.04, 1.52, 9.96, 41.0, 59.7, 185.0, 7800.0];
        let expected = ["0 s", "40 ms", "1.5 s", "10 s", "41 s", "1 min 0 s", "3 min 5 s", "2 h 10 min"];
        assert_eq!(seconds.map(Duration::from_secs_f64).map(duration), expected);
    }

    #[test]
    fn control_characters_are_escaped_except_for_line_breaks_and_tabs() {
        assert_eq!(printable("a\u{1b}[31m\r\u{9b}\nb\tü"), "a\\u{1b}[31m\\r\\u{9b}\nb\tü");
        assert!(matches!(printable("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(decode(b"\xef\xbb\xbfa: 1".to_vec()).unwrap(), "a: 1");
        assert_eq!(decode(b"\xef\xbb\xbf".to_vec()).unwrap(), "");
        assert_eq!(decode("é\u{feff}".into()).unwrap(), "é\u{feff}");
    }

    #[test]
    fn utf_16_is_named_with_and_without_a_mark() {
        for (bytes, encoding) in [
            (&b"\xff\xfe{\0"[..], "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"{\0\"\0", "UTF-16"),
            (b"\0{\0\"", "UTF-16"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
        ] {
            assert_eq!(decode(bytes.to_vec()).unwrap_err().message(), format!("expected UTF-8, found {encoding}"));
        }
        let latin = decode(b"a\nb \xe9".to_vec()).unwrap_err();
        assert_eq!(latin.message(), "expected UTF-8, found invalid bytes in line 2");
        assert_eq!(latin.get_hint(), Some("save the file as UTF-8"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), "12345");
        assert!(read(&path, 4).unwrap_err().message().contains("at most 4 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, 5).unwrap_err().get_file(), path.to_str());
    }
}
