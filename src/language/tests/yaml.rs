//! Plain scalars of YAML 1.1.

use segbundle_language::bundle::load::{Notes, read_text};

/// Value of a scalar, and the warnings about it.
fn read(text: &str) -> (String, String) {
    let mut notes = Notes::default();
    let found = match read_text(&format!("a: {text}\n"), "a.yaml", &mut notes) {
        Ok(node) => format!("{:?}", node.get("a").unwrap()),
        Err(error) => error.message().to_owned(),
    };
    (found, notes.warnings.iter().map(|note| note.message().to_owned()).collect())
}

/// Made with `yaml.safe_load(f"a: {text}")["a"]` of PyYAML 6.
#[test]
fn plain_scalars_agree_with_pyyaml() {
    for (text, expected) in [
        ("12:30:45", "45045"),
        ("0o17", "'0o17'"),
        ("017", "15"),
        ("-017", "-15"),
        ("0x1F", "31"),
        ("-0x1F", "-31"),
        ("1_000", "1000"),
        ("0b11", "3"),
        ("0b_1", "1"),
        ("0x", "'0x'"),
        ("08", "'08'"),
        ("09.5", "9.5"),
        ("0_", "0"),
        ("1e3", "'1e3'"),
        ("1.5e3", "'1.5e3'"),
        ("1.5e+3", "1500.0"),
        (".5", "0.5"),
        ("+.5", "'+.5'"),
        ("1.", "1.0"),
        ("1_0.5_0", "10.5"),
        ("190:20:30.15", "685230.15"),
        ("-.inf", "-inf"),
        (".NaN", "nan"),
        ("y", "'y'"),
        ("Yes", "True"),
        ("oFf", "'oFf'"),
        ("", "None"),
        ("~", "None"),
        ("2020-01-01", "Date"),
        ("2020-1-1", "'2020-1-1'"),
        ("2001-12-14t21:59:43.10-05:00", "Date"),
    ] {
        let (found, notes) = read(text);
        match expected {
            "Date" => assert!(found == format!("'{text}'") && notes.contains("date"), "{text}: {found} {notes}"),
            expected => assert_eq!(found, expected, "{text}"),
        }
    }
}
