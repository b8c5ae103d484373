//! The config language against what MONAI 1.6.1, python-fire and PyYAML made of the same input.
//!
//! `bundle_cases.json` was made by running those: `fire.parser.DefaultParseValue(text)`, fire's argument parser on
//! `monai.bundle.scripts.run`, `yaml.load(text, CheckKeyDuplicatesYamlLoader)`, `json.load`,
//! `ConfigParser(config).parse(True)` then `get_parsed_content(id)`, and `ConfigWorkflow` with files in a temporary
//! folder. Values are Python's `repr`; an error is only compared as one. Differences on purpose are listed here.

use segbundle::bundle::{Plan, Roots, Rules, RunArgs, Session, Tree, Warning, args, fire, load, node::Node};
use segbundle::component::{Args, BuildContext, Dict, Effect, Function, Key, Table, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::OnceLock;

pub fn cases(name: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("bundle_cases.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

pub const NO_RULES: Rules = Rules { fail_on_duplicate: false, allow_missing_reference: false, strict: false };

static FUNCTIONS: [Function; 5] = [
    Function { path: "dict", effect: Effect::Pure, call: dict },
    Function { path: "builtins.dict", effect: Effect::Pure, call: dict },
    Function { path: "math.floor", effect: Effect::Pure, call: floor },
    Function { path: "setattr", effect: Effect::Acts, call: fail },
    Function { path: "print", effect: Effect::Acts, call: print },
];

fn dict(args: Args, _: &mut BuildContext) -> segbundle::error::Result<Value> {
    Ok(Value::Dict(Dict::new(args.named.into_iter().map(|(key, value)| (Key::Str(key), value)))))
}
fn floor(args: Args, _: &mut BuildContext) -> segbundle::error::Result<Value> {
    match args.expect("floor", ["x"])? {
        [Value::Float(x)] => Ok(Value::Int(x.floor() as i64)),
        [other] => Ok(other),
    }
}
fn fail(_: Args, _: &mut BuildContext) -> segbundle::error::Result<Value> {
    segbundle::bail!("setattr takes 3 arguments")
}
fn print(_: Args, _: &mut BuildContext) -> segbundle::error::Result<Value> {
    Ok(Value::None)
}

pub fn table() -> &'static Table {
    static TABLE: OnceLock<&'static Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::default();
        table.add_functions(&FUNCTIONS);
        table.add_constants(&[("math.pi", || Value::Float(std::f64::consts::PI))]);
        Box::leak(Box::new(table))
    })
}

pub fn node(text: &str, name: &str) -> segbundle::error::Result<Node> {
    load::read_text(text, name, &mut load::Notes::default())
}

/// A session over one config, expanded as often as a run does.
pub fn session(config: &str) -> Arc<Session> {
    let tree = Tree::new(node(config, "config.json").unwrap());
    Session::new(Plan::new(tree.expand().expand(), table(), Roots::default(), NO_RULES), None)
}

/// Compare with a golden outcome; a line of text if they differ.
fn differs(label: &str, expected: &Json, found: Result<String, String>) -> Option<String> {
    match (expected.get("value").and_then(Json::as_str), &found) {
        (Some(value), Ok(found)) if value == found => None,
        (None, Err(_)) => None,
        _ => Some(format!("{label}: expected {expected}, found {found:?}")),
    }
}

fn check(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn command_line_values_are_read_as_fire_reads_them() {
    // Bytes, complex numbers and integers beyond 64 bits stay text here.
    let ours = ["b'x'", "1j", "99999999999999999999"];
    let mut failures = Vec::new();
    for case in cases("fire") {
        let (text, expected) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        let flags = fire::parse(&[format!("--x={text}")], args::PARAMETERS, &mut vec![]).unwrap();
        let found = format!("{:?}", flags["x"]);
        if ours.contains(&text) {
            assert_eq!(flags["x"].as_str(), Some(text));
        } else if found != expected {
            failures.push(format!("{text}: expected {expected}, found {found}"));
        }
    }
    check(failures);
}

#[test]
fn flags_and_words_are_split_as_fire_splits_them() {
    let mut failures = Vec::new();
    for case in cases("argv") {
        let argv: Vec<String> =
            case[0].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        let mut pairs: Vec<String> = Vec::new();
        let found = fire::parse(&argv, args::PARAMETERS, &mut vec![]).map_err(|e| e.to_string()).map(|flags| {
            pairs = flags.iter().map(|(key, node)| format!("'{key}': {node:?}")).collect();
            pairs.sort();
            pairs.join(", ")
        });
        let mut expected = case[1].clone();
        if let Some(value) = expected.get("value").and_then(Json::as_str) {
            let mut parts: Vec<&str> = value.trim_matches(['{', '}']).split(", ").collect();
            parts.sort_unstable();
            expected = serde_json::json!({"value": parts.join(", ")});
        }
        failures.extend(differs(&format!("{argv:?}"), &expected, found));
    }
    check(failures);
}

#[test]
fn yaml_is_read_as_pyyaml_reads_it() {
    // True as a key is 1 here, with a warning; a tab before the first key is let through.
    let ours = [("on: 3", "{1: 3}"), ("\ta: 1", "{'a': 1}")];
    let mut failures = Vec::new();
    for case in cases("yaml") {
        let text = case[0].as_str().unwrap();
        let found = node(text, "a.yaml").map(|node| format!("{node:?}")).map_err(|e| e.to_string());
        match ours.iter().find(|(other, _)| *other == text) {
            Some((_, value)) => assert_eq!(found.as_deref(), Ok(*value)),
            None => failures.extend(differs(&format!("{text:?}"), &case[1], found)),
        }
    }
    check(failures);
}

#[test]
fn json_is_read_as_python_reads_it() {
    let mut failures = Vec::new();
    for case in cases("json") {
        let text = case[0].as_str().unwrap();
        let found = node(text, "a.json").map(|node| format!("{node:?}")).map_err(|e| e.to_string());
        failures.extend(differs(&format!("{text:?}"), &case[1], found));
    }
    check(failures);
}

#[test]
fn items_resolve_to_what_monai_resolves_them_to() {
    let mut failures = Vec::new();
    for case in cases("resolve") {
        let config = case[0].to_string();
        let id = case[1].as_str().unwrap();
        let tree = Tree::new(node(&config, "config.json").unwrap()).expand().expand();
        let broken = tree.errors.first().map(ToString::to_string);
        let session = Session::new(Plan::new(tree, table(), Roots::default(), NO_RULES), None);
        let found = match broken {
            Some(error) => Err(error),
            // "" asks for every item of the top.
            None => session.get(id).map(|value| format!("{value:?}")).map_err(|e| e.to_string()),
        };
        if case[2]["value"] == "<class 'dict'>" {
            assert_eq!(found.unwrap(), "<function dict>");
            continue;
        }
        failures.extend(differs(&format!("{config} at {id:?}"), &case[2], found));
    }
    check(failures);
}

#[test]
fn files_arguments_and_overrides_make_what_monai_makes_of_them() {
    let mut failures = Vec::new();
    for case in cases("run") {
        let folder = tempfile::tempdir().unwrap();
        let local = |text: &str| {
            // The cases name files relative to the working directory, which tests share.
            let mut text = text.to_owned();
            for name in ["a.json", "b.json", "c.json", "m.json", "m.JSON", "m.yaml", "m1.json", "m2.json", "b.yaml"] {
                let path = folder.path().join(name).display().to_string();
                text = text
                    .replace(&format!("'{name}'"), &format!("'{path}'"))
                    .replace(&format!("%{name}"), &format!("%{path}"));
                if text == name {
                    text = path.clone();
                }
            }
            for name in ["args.json", "args.yaml", "nope.json", "nope.conf"] {
                if text == name {
                    text = folder.path().join(name).display().to_string();
                }
            }
            text
        };
        for (name, content) in case[0].as_object().unwrap() {
            let text = content.as_str().map_or_else(|| content.to_string(), |text| text.to_owned());
            std::fs::write(
                folder.path().join(name),
                local(&text).replace("config_file: c.json", "config_file: none.json"),
            )
            .unwrap();
        }
        let argv: Vec<String> = case[1].as_array().unwrap().iter().map(|arg| local(arg.as_str().unwrap())).collect();
        let made = RunArgs::parse(&argv, NO_RULES).and_then(|args| {
            segbundle::workflow::logging(&args, &mut vec![])?;
            let plan = Plan::prepare(&args, table())?;
            match plan.tree.errors.first() {
                Some(error) => Err(error.clone()),
                None => Ok(Session::new(plan, None)),
            }
        });
        let label = format!("{} {argv:?}", case[0]);
        match (case[2].get("values"), made) {
            (None, Err(_)) => {}
            (None, Ok(_)) => failures.push(format!("{label}: expected an error, found none")),
            // MONAI's second pass comes with the first item that it builds.
            (Some(values), Err(_))
                if values.as_object().unwrap().values().all(|value| value.get("error").is_some()) => {}
            (Some(_), Err(e)) => failures.push(format!("{label}: {e}")),
            (Some(values), Ok(session)) => {
                for (id, expected) in values.as_object().unwrap() {
                    let found = session.get(id).map(|value| format!("{value:?}")).map_err(|e| e.to_string());
                    failures.extend(differs(&format!("{label} at {id}"), expected, found));
                }
            }
        }
    }
    check(failures);
}

fn texts(warnings: &[Warning]) -> String {
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn duplicate_keys_warn_and_the_last_wins_or_fail_when_asked() {
    for (name, text) in [("a.json", r#"{"k": 1, "k": 2}"#), ("a.yaml", "k: 1\nk: 2\n")] {
        let mut notes = load::Notes::default();
        let node = load::read_text(text, name, &mut notes).unwrap();
        assert_eq!(format!("{node:?}"), "{'k': 2}");
        assert!(texts(&notes.warnings).contains("the key `k` occurs twice"), "{}", texts(&notes.warnings));
        let mut notes = load::Notes { fail_on_duplicate: true, ..load::Notes::default() };
        assert!(load::read_text(text, name, &mut notes).is_err());
    }
}

/// As MONAI's loader does.
#[test]
fn yaml_merge_keys_are_refused() {
    let error = node("a: &a {x: 1}\nc:\n  <<: *a\n", "a.yaml").unwrap_err();
    assert!(error.message().contains("line 3") && error.message().contains("merge keys"), "{error}");
}

#[test]
fn alias_bombs_and_deep_nesting_end_in_an_error() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..9 {
        let previous = format!("*a{}, ", at - 1).repeat(10);
        bomb += &format!("a{at}: &a{at} [{}]\n", previous.trim_end_matches(", "));
    }
    assert!(node(&bomb, "a.yaml").unwrap_err().message().contains("items"));
    // Anchors that wrap one another: shallow where each is written, deep together.
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for at in 1..100 {
        deep += &format!("a{at}: &a{at} [[[[*a{}]]]]\n", at - 1);
    }
    assert!(node(&deep, "a.yaml").unwrap_err().message().contains("levels deep"));
    for (name, open, close) in [("a.json", "[", "]"), ("a.yaml", "[", "]")] {
        let text = open.repeat(100_000) + &close.repeat(100_000);
        assert!(node(&text, name).is_err());
    }
    assert!(node("&a [*a]", "a.yaml").is_err());
}

#[test]
fn each_id_resolves_once_and_a_run_item_every_time() {
    let session = session(r#"{"a": {"_target_": "dict", "x": 1}, "run": ["@a", {"_target_": "dict"}], "b": "@a"}"#);
    let (a, b) = (session.get("a").unwrap(), session.get("b").unwrap());
    assert_eq!(a.identity(), b.identity());
    let (first, second) = (session.run_section("run").unwrap(), session.run_section("run").unwrap());
    assert_eq!(first[0].identity(), a.identity());
    assert_ne!(first[1].identity(), second[1].identity());
}

#[test]
fn the_characters_of_a_string_are_items_with_a_warning_unless_it_names_an_image() {
    let session = |text: &str| session(&format!(r#"{{"text": "{text}", "items": "$[c for c in @text]"}}"#));
    let version = session("1.5");
    assert_eq!(format!("{:?}", version.get("items").unwrap()), "['1', '.', '5']");
    assert!(texts(&version.take_warnings()).contains("`text` is the string '1.5'"));
    let error = session("a/b.NII.gz").get("items").unwrap_err();
    assert!(error.message().contains("expected a list, found str"), "{error}");
}

#[test]
fn a_missing_initialize_is_fine_and_a_missing_run_is_not() {
    let session = session(r#"{"x": 1}"#);
    assert!(session.run_section("initialize").unwrap().is_empty());
    assert!(session.run_section("finalize").unwrap().is_empty());
    assert_eq!(session.run_section("run").unwrap_err().message(), "the config has no `run` to run");
}

#[test]
fn missing_references_are_kept_as_text_when_allowed() {
    let rules = Rules { allow_missing_reference: true, ..NO_RULES };
    let tree = Tree::new(node(r#"{"x": ["@nope", 1], "run": ["@x"]}"#, "c.json").unwrap()).expand();
    let plan = Plan::new(tree, table(), Roots::default(), rules);
    assert!(plan.problems().is_empty());
    assert!(texts(plan.warnings()).contains("`@nope` is not defined"));
    assert_eq!(format!("{:?}", Session::new(plan, None).get("x").unwrap()), "['@nope', 1]");
}

#[test]
fn a_chain_of_references_ends_in_an_error_and_not_in_a_crash() {
    let mut config = r#"{"a0": 1"#.to_owned();
    for at in 1..5000 {
        config += &format!(r#", "a{at}": "@a{}""#, at - 1);
    }
    let session = session(&(config + r#", "run": ["@a4999"]}"#));
    assert!(session.plan().problems().iter().any(|e| e.message().contains("in a chain")));
    assert!(session.get("a4999").unwrap_err().message().contains("in a chain"));
    assert_eq!(session.get("a200").unwrap(), Value::Int(1));
}

#[test]
fn a_macro_that_pastes_its_own_parent_does_not_grow_without_end() {
    let items: Vec<String> = (0..2000).map(|at| format!(r#""k{at}": "%a""#)).collect();
    let tree = Tree::new(node(&format!(r#"{{"a": {{{}}}}}"#, items.join(",")), "c.json").unwrap()).expand();
    assert!(texts(&tree.errors).contains("makes the config too large"));
}

#[test]
fn a_macro_that_stays_text_in_many_copies_is_told_once() {
    let tree = Tree::new(node(r#"{"a": ["%a", "%a", "%a"], "run": []}"#, "c.json").unwrap()).expand().expand();
    let plan = Plan::new(tree, table(), Roots::default(), NO_RULES);
    let told = plan.warnings().iter().filter(|warning| warning.message().contains("stays text")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1);
    let message = told[0].message();
    assert!(message.starts_with("`%a` stays text, here and in ") && message.contains(" other places: "), "{message}");
}

#[test]
fn names_that_monai_has_are_told_from_names_that_nobody_has() {
    for name in [
        "UNet",
        "monai.networks.nets.UNet",
        "monai.transforms.spatial.dictionary.RandRotated",
        "RandFlipD",
        "torch.optim.Adam",
        "ignite.metrics.Accuracy",
    ] {
        assert!(segbundle::bundle::monai_has(name), "{name}");
    }
    for name in ["UNett", "monai.nope.Nope", "torch.optim.Adamm", "scripts.net.Net"] {
        assert!(!segbundle::bundle::monai_has(name), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC*", marks in "[\\[\\]{}:,&*!|>'\"%@`#?\\- \n\tax0.]{0,40}") {
        for text in [&text, &marks] {
            let _ = node(text, "a.json");
            let _ = node(text, "a.yaml");
        }
    }

    #[test]
    fn no_command_line_makes_fire_panic(argv in proptest::collection::vec("[\\[\\](){}:,'\"\\\\rub+\\-=#.0-9exn_ \n]{0,24}", 0..4), text in "\\PC*") {
        let _ = fire::parse(&argv, args::PARAMETERS, &mut vec![]);
        let _ = fire::parse(&[format!("--x={text}")], args::PARAMETERS, &mut vec![]);
    }
}
