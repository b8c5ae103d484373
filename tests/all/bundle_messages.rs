//! What a user reads: whole messages for planted mistakes, traps, and the checks before a run.

use crate::bundle::NO_RULES;
use crate::common::folder_of;
use segbundle::bundle::{Plan, Rules, RunArgs, Session};
use segbundle::component::{Args, BuildContext, Component, ConfigSource, Declared, Effect, Function, Table, Value};
use segbundle::error::{Error, Kind, Result};
use segbundle::workflow;
use std::sync::OnceLock;

segbundle::args! {
    /// A network of two arguments.
    pub struct NetArgs {
        /// How wide it starts.
        init_filters: i64 = 8i64,
        /// Channels of the input.
        in_channels: i64,
    }
}

static NET: Component = Component {
    name: "TinyNet",
    path: "monai.networks.nets.TinyNet",
    modules: &[],
    also: &["tinynet"],
    doc: "A network.",
    params: NetArgs::PARAMS,
    differences: &[],
    effect: Effect::Pure,
    build: |args, _| {
        let args = NetArgs::parse("TinyNet", args)?;
        segbundle::error::Result::Ok(Value::Int(args.init_filters * args.in_channels))
    },
};

static FUNCTIONS: [Function; 4] = [
    Function { path: "os.path.exists", effect: Effect::Reads, call: none },
    Function { path: "os.makedirs", effect: Effect::Acts, call: none },
    Function { path: "os.getcwd", effect: Effect::Reads, call: none },
    Function { path: "print", effect: Effect::Acts, call: none },
];

fn none(_: Args, _: &mut BuildContext) -> Result<Value> {
    Ok(Value::None)
}

fn table() -> &'static Table {
    static TABLE: OnceLock<&'static Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::default();
        table.add_component(&NET);
        table.add_functions(&FUNCTIONS);
        Box::leak(Box::new(table))
    })
}

/// A plan over files in a folder, and that folder's name to be cut out of messages.
fn plan(files: &[(&str, &str)], argv: &[&str]) -> (Plan, String) {
    plan_with(NO_RULES, files, argv)
}

fn plan_with(rules: Rules, files: &[(&str, &str)], argv: &[&str]) -> (Plan, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let config = folder.path().join(files[0].0).display().to_string();
    let argv: Vec<String> =
        ["--config_file", &config].into_iter().chain(argv.iter().copied()).map(str::to_owned).collect();
    let args = RunArgs::parse(&argv, rules).unwrap();
    (Plan::prepare(&args, table()).unwrap(), format!("{}/", folder.path().display()))
}

fn report(errors: &[Error], folder: &str) -> String {
    errors.iter().map(|error| error.to_string().replace(folder, "")).collect::<Vec<_>>().join("\n\n")
}

const PLANTED: &str = r#"{
    "imports": ["$import os"],
    "displayable_configs": {"highres": true},
    "list": [1, 2, 3],
    "network_def": {"_target_": "TinyNet", "init_filter": 16, "in_channels": 1},
    "head": {"_target_": "TinyNett", "in_channels": 1},
    "first": "@second",
    "second": "$@first + 1",
    "broken": "$[1, 2",
    "shell": "$os.system('ls')",
    "deep": {"up": "@###nowhere"},
    "run": ["@network_def", "@head", "@first", "@broken", "@shell", "@deep::up", "@list::7", "@netwrok_def",
            "$1 if @displayable_configs#highres else 2"]
}"#;

#[test]
fn ten_planted_mistakes_are_all_told_at_once() {
    let (plan, folder) =
        plan(&[("planted.json", PLANTED)], &["--displayable_configs#highres", "false", "--highres", "False"]);
    let found = report(plan.problems(), &folder);
    assert_eq!(found, include_str!("bundle_planted.txt").trim_end(), "found:\n{found}");
    assert!(plan.problems().iter().all(|e| e.get_kind() == Kind::Config && e.exit_code() == 2));
}

#[test]
#[ignore = "needs the configs of MONAI's wholeBody_ct_segmentation bundle: SEGBUNDLE_WHOLEBODY=FOLDER"]
fn upstreams_configs_have_no_mistakes_besides_what_is_not_built() {
    let folder = folder_of("SEGBUNDLE_WHOLEBODY");
    for files in [
        &["inference"][..],
        &["train"],
        &["train", "evaluate"],
        &["train", "multi_gpu_train"],
        &["train", "evaluate", "multi_gpu_evaluate"],
    ] {
        let paths: Vec<String> =
            files.iter().map(|name| format!("'{}'", folder.join(format!("{name}.json")).display())).collect();
        let argv = ["--config_file".to_owned(), format!("[{}]", paths.join(","))];
        let args = RunArgs::parse(&argv, NO_RULES).unwrap();
        let plan = Plan::prepare(&args, segbundle::registry::table()).unwrap();
        for error in plan.problems() {
            // Components that are still to come, and functions outside the table, are no mistakes of the config.
            let excused = error.get_kind() == Kind::Unsupported || error.message().starts_with("a config cannot use");
            assert!(excused, "{files:?}: {error}");
        }
        let notes = report(plan.notes(), "");
        assert_eq!(
            notes.contains("`highres` has no effect: the run reads `displayable_configs::highres`"),
            files[0] == "train",
            "{notes}"
        );
        let trains = files == ["train"] || files == ["train", "multi_gpu_train"];
        assert_eq!(
            notes.contains("`init_LR` has no effect: the run reads `displayable_configs::init_LR`"),
            trains,
            "{notes}"
        );
        assert!(!notes.contains("batch_size"), "{notes}");
        assert!(!notes.contains("optional_packages_version"), "{notes}");
    }
}

#[test]
fn the_string_false_for_a_bool_is_an_error_and_true_a_warning() {
    let config = r#"{"c": {"flag": true, "name": "x"}, "run": ["@c"]}"#;
    let (plan_false, folder) = plan(&[("c.json", config)], &["--c#flag", "false"]);
    assert!(report(plan_false.problems(), &folder).ends_with("hint: write --c#flag False"));
    let (plan_true, _) = plan(&[("c.json", config)], &["--c#flag", "true"]);
    assert!(plan_true.problems().is_empty());
    assert!(report(plan_true.warnings(), "").contains("hint: write --c#flag True"));
    let (python, _) = plan(&[("c.json", config)], &["--c#flag", "False", "--c#name", "false"]);
    assert!(python.problems().is_empty(), "a string where the config has one is fine");
    assert!(!report(python.warnings(), "").contains("write --"));
}

#[test]
fn an_override_is_read_by_reference_part_macro_or_parent() {
    let config = r#"{"a": 1, "b": {"c": 1, "d": 2}, "m": {"x": 1}, "p": "%m", "unused": 3, "l": [1, 2], "run": ["@a", "@b::c", "$@l"]}"#;
    for (id, read) in [
        ("a", true),
        ("b", true),
        ("b#c", true),
        ("b#d", false),
        ("m", true),
        ("m#x", true),
        ("unused", false),
        ("l#1", true),
        ("run", true),
        ("new", false),
        ("_meta_", true),
    ] {
        let value = if id == "b" { "{c: 5}" } else { "5" };
        let (plan, _) = plan(&[("c.json", config)], &[&format!("--{id}"), value]);
        let unread = report(plan.warnings(), "").contains("changes nothing");
        assert_eq!(!unread, read, "{id}: {}", report(plan.problems(), ""));
    }
}

#[test]
fn an_override_that_nothing_reads_warns_and_fails_when_strict_or_when_its_name_is_read_elsewhere() {
    let config = r#"{"c": {"highres": true}, "pixdim": 1, "run": ["@c::highres", "@pixdim"]}"#;
    let (plan_typo, _) = plan(&[("c.json", config)], &["--pixdm", "2"]);
    assert!(plan_typo.problems().is_empty());
    assert!(report(plan_typo.warnings(), "").contains("hint: did you mean `--pixdim`?"));
    let strict = plan_with(Rules { strict: true, ..NO_RULES }, &[("c.json", config)], &["--pixdm", "2"]).0;
    assert!(report(strict.problems(), "").contains("the override `pixdm` changes nothing"));
    let (dead, _) = plan(&[("c.json", config)], &["--highres", "False"]);
    assert!(report(dead.problems(), "").contains("hint: did you mean `--c#highres`?"));
}

/// MONAI's `ConfigComponent.is_disabled` compares strings with "true".
#[test]
fn the_string_false_is_no_trap_where_only_disabled_reads_it() {
    let config = r#"{"off": true, "a": {"_target_": "TinyNet", "in_channels": 1, "_disabled_": "@off"},
        "run": ["@a"], "more": ["@a", "$1 if @off else 2"]}"#;
    for text in ["false", "False", "no"] {
        let (plan, _) = plan(&[("c.json", config)], &["--off", text]);
        assert!(plan.problems().is_empty(), "{text}: {}", report(plan.problems(), ""));
        assert_eq!(Session::new(plan, None).get("a").unwrap(), Value::Int(8), "{text}");
    }
    let (plan_true, _) = plan(&[("c.json", config)], &["--off", "true"]);
    assert!(Session::new(plan_true, None).get("a").unwrap().is_none());
    let (own, _) = plan(&[("c.json", config)], &["--a#_disabled_", "false"]);
    assert!(own.problems().is_empty(), "{}", report(own.problems(), ""));
    let (truth, _) = plan(&[("c.json", config)], &["--off", "false", "--run_id", "more"]);
    assert!(report(truth.problems(), "").contains("which counts as true"), "{}", report(truth.problems(), ""));
}

#[test]
fn words_after_a_value_and_repeated_options_are_reported() {
    let argv = ["--config_file", "a.json", "b.json", "--x", "1", "--x=2"].map(str::to_owned);
    let args = RunArgs::parse(&argv, NO_RULES).unwrap();
    let found = report(&args.warnings, "");
    assert_eq!(args.run_id, "b.json");
    assert!(found.contains("`b.json` after the value of `--config_file` is read as run_id"), "{found}");
    assert!(found.contains("--config_file \"['first','second']\""), "{found}");
    assert!(found.contains("`--x` is given twice: 1 is ignored"), "{found}");
    let plain = ["training", "--config_file", "a.json"].map(str::to_owned);
    assert!(RunArgs::parse(&plain, NO_RULES).unwrap().warnings.is_empty());
}

#[test]
fn a_config_without_run_names_the_lists_that_could_be_run() {
    let config = r#"{"imports": ["$import os"], "initialize": ["$print(1)"], "training": ["$print(2)"], "sub": {"evaluating": ["$print(3)"]},
        "numbers": [1], "names": ["a"]}"#;
    let (several, _) = plan(&[("c.json", config)], &[]);
    let hint = several.problems()[0].get_hint().unwrap();
    assert_eq!(hint, "name the list to run with `--run_id`: training or sub#evaluating");
    let (one, _) = plan(&[("c.json", r#"{"fit": ["$print(2)"]}"#)], &[]);
    assert_eq!(one.problems()[0].get_hint(), Some("`--run_id fit` runs the list `fit`"));
}

#[test]
fn a_dict_with_target_instead_of_the_key_of_a_component_is_named() {
    let config =
        r#"{"net": {"target": "TinyNet", "in_channels": 1}, "other": {"target": "liver"}, "run": ["@net", "@other"]}"#;
    let (plan, folder) = plan(&[("c.json", config)], &[]);
    let found = report(plan.warnings(), &folder);
    assert!(
        found.contains(
            "`net` has `target` and stays a dict\n  --> c.json:1, net\n\nhint: a component is written with `_target_`"
        ),
        "{found}"
    );
    assert!(!found.contains("`other`"), "{found}");
}

/// PyYAML reads `1e-4` as text: YAML 1.1 wants a point and a signed exponent.
#[test]
fn a_number_that_yaml_reads_as_text_is_named_with_its_spelling() {
    let (plan, folder) = plan(&[("c.yaml", "lr: 1e-4\nname: e4\nquoted: '1e-4'\nrun: ['@lr']\n")], &[]);
    let found = report(plan.warnings(), &folder);
    assert!(
        found.contains("`1e-4` is text in YAML 1.1, not a number\n  --> c.yaml:1\n\nhint: write 1.0e-4"),
        "{found}"
    );
    assert_eq!(found.matches("YAML 1.1").count(), 1, "{found}");
}

#[test]
fn a_byte_order_mark_is_skipped_and_utf_16_is_named() {
    for (name, text) in [("c.json", "{\"run\": [\"$1\"]}"), ("c.yaml", "run: ['$1']\n")] {
        let (plan_marked, _) = plan(&[(name, &format!("\u{feff}{text}"))], &[]);
        assert!(plan_marked.problems().is_empty(), "{}", report(plan_marked.problems(), ""));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, wide).unwrap();
        let argv = ["--config_file".to_owned(), path.display().to_string()];
        let error = Plan::prepare(&RunArgs::parse(&argv, NO_RULES).unwrap(), table()).map(drop).unwrap_err();
        assert_eq!(error.message(), "expected UTF-8, found UTF-16");
        assert_eq!((error.get_file(), error.get_hint()), (path.to_str(), Some("save the file as UTF-8")));
    }
}

#[test]
fn components_that_may_be_disabled_only_warn() {
    let config = r#"{"n": {"_target_": "UNet", "_disabled_": "$1 > 0"}, "off": {"_target_": "Nope", "_disabled_": true}, "run": ["@n", "@off"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &[]);
    assert!(plan.problems().is_empty(), "{}", report(plan.problems(), ""));
    assert!(report(plan.warnings(), "").contains("MONAI's `UNet` is not supported by segbundle yet"));
    let session = Session::new(plan, None);
    assert!(session.get("n").unwrap().is_none() && session.get("off").unwrap().is_none());
}

#[test]
fn mistakes_in_parts_that_the_run_does_not_reach_are_dormant() {
    let config = r#"{"x": {"_target_": "Nope"}, "y": "@z", "w": "@w", "run": ["$1"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &[]);
    assert!(plan.problems().is_empty());
    let dormant = report(plan.dormant(), "");
    for message in ["unknown component `Nope`", "`@z` is not defined", "circular references: w → w"] {
        assert!(dormant.contains(message), "{dormant}");
    }
}

/// Suggestions for each would take minutes.
#[test]
fn a_large_config_full_of_mistakes_is_still_checked() {
    let numbers = vec!["0"; 200_000].join(",");
    let missing: Vec<String> = (0..5_000).map(|i| format!(r#""@nowhere{i}""#)).collect();
    let text = format!(r#"{{"numbers": [{numbers}], "initialize": [{}]}}"#, missing.join(","));
    let (plan, _) = plan(&[("a.json", &text)], &[]);
    let told =
        plan.problems().iter().filter(|error| error.to_string().contains("is not defined in the config")).count();
    assert_eq!(told, 5_000);
}

#[test]
fn functions_with_an_effect_are_listed_where_a_run_calls_them() {
    let config = r#"{"imports": ["$import os"], "dir": "$os.makedirs('x')", "not": "$os.makedirs('y')", "f": "$os.makedirs",
        "run": ["@dir", "@f", "$print(os.path.exists('x'))"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &[]);
    let found: Vec<(&str, &str)> =
        plan.effects().iter().map(|effect| (effect.name.as_str(), effect.id.as_str())).collect();
    assert_eq!(found, [("os.makedirs", "dir"), ("print", "run::2")]);
}

#[test]
fn names_are_found_only_in_the_table_and_need_an_import() {
    let config = r#"{"run": ["$os.getcwd()", "$import os.path as path", "$path.exists('x')", "$path.exist('x')", "$TinyNet", "$nope.x",
        "$monai.networks.nets.TinyNet(in_channels=2, initfilters=3)", "$[nope for nope in [1]]"]}"#;
    let (plan, folder) = plan(&[("c.json", config)], &[]);
    let found = report(plan.problems(), &folder);
    for part in [
        "the name `os` is not defined\n  --> c.json:1, run::0\n   | $os.getcwd()\n   |  ^\n\nhint: add \"$import os\" to the config",
        "hint: did you mean `os.path.exists`?",
        "the name `TinyNet` is not defined",
        "the name `nope` is not defined",
        "TinyNet has no argument `initfilters`",
    ] {
        assert!(found.contains(part), "{part}\n\nfound:\n{found}");
    }
    assert_eq!(plan.problems().len(), 5, "{found}");
}

#[test]
fn an_error_while_building_names_the_component_and_its_file() {
    let config = "{\n\"n\": {\"_target_\": \"TinyNet\",\n\"in_channels\": \"three\"},\n\"run\": [\"@n\"]}";
    let (plan, folder) = plan(&[("c.json", config)], &[]);
    let error = Session::new(plan, None).run_section("run").unwrap_err();
    let expected = "TinyNet: argument `in_channels`: expected int, found str 'three'\n  --> c.json:2, n";
    assert_eq!(error.to_string().replace(&folder, ""), expected);
}

#[test]
fn a_missing_argument_is_told_unless_the_component_is_only_named() {
    let config = r#"{"n": {"_target_": "TinyNet"}, "m": {"_target_": "TinyNet", "_mode_": "callable", "init_filters": 3},
        "d": {"_target_": "TinyNet", "_mode_": "debug", "in_channels": 1}, "run": ["@n", "$@m(in_channels=2)", "@d"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &[]);
    let kinds: Vec<(&str, Kind)> = plan.problems().iter().map(|error| (error.message(), error.get_kind())).collect();
    assert_eq!(
        kinds,
        [
            ("TinyNet needs argument `in_channels` (int)", Kind::Config),
            ("`_mode_: debug` is not supported: it starts Python's debugger", Kind::Unsupported),
        ]
    );
    assert_eq!(Session::new(plan, None).get("run::1").unwrap(), Value::Int(6));
}

#[test]
fn syntax_errors_name_line_and_column() {
    for (name, text, expected) in [
        (
            "a.json",
            "{\n  \"a\": 1,\n}",
            "JSON syntax, line 3, column 1: expected another item, found `}`\n  --> a.json\n\nhint: remove the comma before it",
        ),
        (
            "a.json",
            "{\"a\": True}",
            "JSON syntax, line 1, column 7: expected a value, found `True`\n  --> a.json\n\nhint: JSON writes `true`",
        ),
        (
            "a.json",
            "{'a': 1}",
            "JSON syntax, line 1, column 2: expected a key in double quotes, found `'`\n  --> a.json",
        ),
    ] {
        assert_eq!(crate::bundle::node(text, name).unwrap_err().to_string(), expected);
    }
    let error = crate::bundle::node("a: 1\nb: @ref\n", "a.yaml").unwrap_err();
    assert!(error.message().starts_with("YAML syntax, line 2, column 4"), "{error}");
    assert_eq!(error.get_hint(), Some("a value that starts with `@`, `%` or a backtick needs quotes"));
}

#[test]
fn text_that_looks_like_a_reference_or_macro_warns() {
    let config = r#"{"x": [1], "y": "@x::-1", "z": "@my-key", "run": ["@y"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &[]);
    let found = report(plan.warnings(), "");
    assert!(found.contains("hint: to compute with `x` write `\"$@x[-1]\"`"), "{found}");
    assert!(!found.contains("my-key"));
}

#[test]
fn a_missing_run_suggests_what_there_is() {
    let (plan, folder) = plan(&[("c.json", r#"{"runs": ["$1"]}"#)], &[]);
    assert_eq!(
        report(plan.problems(), &folder),
        "the config has no `run` to run\n  --> c.json\n\nhint: did you mean `--run_id runs`?"
    );
    let (plan, _) = self::plan(&[("c.json", r#"{"runs": ["$1"]}"#)], &["runs"]);
    assert!(plan.problems().is_empty());
}

#[test]
fn a_macro_of_stray_colons_is_a_missing_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    for wrong in ["%:=a", "%::a", "%a::", "%a:::b", "%a::::b"] {
        std::fs::write(&path, format!(r#"{{"ab": {{"bc": 1}}, "x": "{wrong}", "run": ["@x"]}}"#)).unwrap();
        let argv = ["--config_file".to_owned(), path.display().to_string()];
        let args = RunArgs::parse(&argv, NO_RULES).unwrap();
        let found = Plan::prepare(&args, table()).map_or(1, |plan| plan.problems().len());
        assert!(found > 0, "{wrong}");
    }
}

#[test]
fn an_unquoted_list_of_files_is_explained() {
    let argv = ["--config_file", "[a.json,b.json]"].map(str::to_owned);
    let error = RunArgs::parse(&argv, NO_RULES).unwrap_err();
    assert_eq!(error.get_hint(), Some("write --config_file \"['a.json','b.json']\""));
}

#[test]
fn metadata_that_is_missing_or_incomplete_is_noted() {
    let (plan_without, _) = plan(&[("c.json", r#"{"run": ["$1"]}"#)], &[]);
    assert!(report(plan_without.notes(), "").contains("cannot find the metadata file"));
    let (with, _) = plan(&[("c.json", r#"{"run": ["$1"]}"#), ("metadata.json", r#"{"version": "1"}"#)], &[]);
    assert!(report(with.notes(), "").contains("the metadata lacks monai_version, pytorch_version"));
}

#[test]
fn names_of_channels_are_those_of_the_first_output_that_has_them() {
    let metadata = r#"{"network_data_format": {"outputs": {"embedding": {}, "seg": {"channel_def": {"1": "liver"}}}}}"#;
    let (plan, _folder) = plan(&[("c.json", r#"{"run": ["$1"]}"#), ("metadata.json", metadata)], &[]);
    let names = Session::new(plan, None).record().channel_names;
    assert_eq!(format!("{names:?}"), "{'1': 'liver'}");
}

#[test]
fn a_missing_part_is_found_in_another_config_of_the_folder() {
    let other = r#"{"network": "$1", "run": ["$@network"]}"#;
    let (evaluate, folder) = plan(&[("c.json", r#"{"run": ["$@network"]}"#), ("other.json", other)], &[]);
    let files = ["other.json", "c.json"].map(|name| format!("'{folder}{name}'")).join(",");
    let expected = format!("name the files together, `--config_file \"[{files}]\"`");
    assert!(evaluate.problems()[0].get_hint().unwrap().ends_with(&expected), "{}", evaluate.problems()[0]);
    // Long files are data, not configs.
    let long = format!(r#"{{"network": "$1", "cases": "{}"}}"#, " ".repeat(1 << 20));
    let (alone, _folder) = plan(&[("c.json", r#"{"run": ["$@network"]}"#), ("long.json", &long)], &[]);
    assert!(!alone.problems()[0].get_hint().unwrap_or_default().contains("long.json"), "{}", alone.problems()[0]);
    let (empty, _folder) = plan(&[("c.json", "{}"), ("other.json", other)], &[]);
    assert!(empty.problems()[0].to_string().contains("`run` is in "), "{}", empty.problems()[0]);
}

#[test]
fn an_error_in_a_function_stands_at_its_own_item() {
    let config = r#"{"list": [1], "get": "$lambda x: x[7]", "run": ["$@get(@list)"]}"#;
    let (prepared, _folder) = plan(&[("c.json", config)], &["--get", "$lambda x: x[8]"]);
    let error = Session::new(prepared, None).run_section("run").unwrap_err().to_string();
    assert!(error.ends_with("--> command line, get\n   | $lambda x: x[8]\n   |             ^"), "{error}");
}

#[test]
fn tracking_with_mlflow_says_what_is_missing() {
    let config = r#"{"handlers": ["$1"], "evaluator": {"_target_": "SupervisedEvaluator", "val_handlers": "@handlers"},
        "bundle_root": ".", "run": ["$@evaluator.run()"]}"#;
    let (plan, _) = plan(&[("c.json", config)], &["--tracking", "mlflow"]);
    assert!(report(plan.problems(), "").contains("`tracking` adds MLFlowHandler, which segbundle does not have"));
    assert!(plan.problems()[0].get_hint().unwrap().contains("without MLflow"));
}

/// Settings as MONAI takes them: a handler for the engine that there is, settings that the config does not have yet.
#[test]
fn tracking_adds_its_handlers_and_settings() {
    let config = r#"{"handlers": ["$1"], "evaluator": {"_target_": "TinyNet", "in_channels": 1}, "kept": 1, "run": ["$@evaluator"]}"#;
    let settings = r#"{"handlers_id": {"evaluator": {"id": "evaluator", "handlers": "handlers"}, "trainer": {"id": "train#trainer", "handlers": "x"}},
        "configs": {"kept": 2, "new": 3, "evaluator": {"_target_": "TinyNet", "in_channels": 7}, "trainer": {"_target_": "No"},
        "save_execute_config": false}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tracking.json");
    std::fs::write(&file, settings).unwrap();
    let (plan, _) = plan(&[("c.json", config)], &["--tracking", file.to_str().unwrap()]);
    let value = |id: &str| plan.tree.get(id).map(|node| format!("{:?}", node.to_value()));
    assert_eq!(value("handlers::1::in_channels").as_deref(), Some("7"));
    assert_eq!(
        (value("kept").as_deref(), value("new").as_deref(), value("save_execute_config").as_deref()),
        (Some("1"), Some("3"), Some("None"))
    );
    assert!(plan.executed.is_none() && plan.problems().is_empty(), "{}", report(plan.problems(), ""));
}

/// What MONAI's `export_config_file` writes for the same call, read back and compared as values.
#[test]
fn tracking_writes_the_config_that_is_run() {
    let config = r#"{"output_dir": "$@root + '/out'", "root": "ROOT", "a": {"b": [1, 2.5, null, true, "é"], "c": "@::d", "d": 4, "1": "%a::b"}, "run": ["$@a"]}"#;
    let out = tempfile::tempdir().unwrap();
    let config = config.replace("ROOT", out.path().to_str().unwrap());
    let tracking = ["--tracking", "{'handlers_id': {}, 'configs': {}}", "--a#d", "(1,'x')"];
    let (plan, _) = plan(&[("c.json", &config)], &tracking);
    assert!(plan.problems().is_empty() && !out.path().join("out").exists(), "{}", report(plan.problems(), ""));
    workflow::run(plan, None, &mut |_| {}).unwrap();
    let files: Vec<_> = std::fs::read_dir(out.path().join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let name = file.file_name().unwrap().to_str().unwrap();
    // config_20260131_120000.json
    assert!(name.len() == 27 && name.starts_with("config_") && name.ends_with(".json"), "{name}");
    let written: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(
        written["a"].to_string(),
        r#"{"b":[1,2.5,null,true,"é"],"c":"@a::d","d":[1,"x"],"1":[1,2.5,null,true,"é"]}"#
    );
    assert_eq!(written["save_execute_config"], format!("$f'{{@output_dir}}/{name}'"));
    assert_eq!(written["run"][0], "$@a");
}

#[test]
fn tracking_writes_to_a_file_of_ones_own() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("deep/executed.json");
    let settings =
        ["--tracking", "{'handlers_id': {}, 'configs': {}}", "--save_execute_config", file.to_str().unwrap()];
    let (own, _) = plan(&[("c.json", r#"{"run": ["$1"], "x": 1}"#)], &settings);
    workflow::run(own, None, &mut |_| {}).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"x\": 1"));
    // Without an output_dir the file goes to the bundle's eval, as in MONAI; without a bundle_root it cannot.
    let (plan, _) = plan(&[("c.json", r#"{"run": ["$1"]}"#)], &["--tracking", "{'handlers_id': {}, 'configs': {}}"]);
    assert!(report(plan.problems(), "").contains("`@bundle_root` is not defined"), "{}", report(plan.problems(), ""));
}

#[test]
fn a_run_initializes_runs_and_finalizes_in_order() {
    let config = r#"{"initialize": ["$print(1)"], "go": ["$print(2)", "@n"], "n": {"_target_": "TinyNet", "in_channels": 1}, "finalize": "$print(3)"}"#;
    let (plan, _) = plan(&[("c.json", config)], &["--run_id", "go"]);
    assert_eq!(
        plan.effects().iter().map(|effect| effect.id.as_str()).collect::<Vec<_>>(),
        ["initialize::0", "go::0", "finalize"]
    );
    workflow::run(plan, None, &mut |_| {}).unwrap();
}
