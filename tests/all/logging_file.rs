//! `logging.conf`: how it is read, and what the program's log makes of it.

use crate::common::program;
use proptest::prelude::*;
use segbundle::bundle::LoggingConf;
use segbundle::bundle::logging_conf::{Record, Sink};
use segbundle::error::{Error, Result};
use std::path::Path;
use std::process::Output;

const CONF: &str = "[loggers]
keys=root,quiet

[handlers]
keys=console,file

[formatters]
keys=full

[logger_root]
level=INFO
handlers=console,file

[logger_quiet]
level=ERROR
qualname=my.quiet
handlers=

[handler_console]
class=StreamHandler
level=WARNING
formatter=full
args=(sys.stdout,)

[handler_file]
class=FileHandler
args=('run.log', 'w')
formatter=full

# a comment
[formatter_full]
format=%(asctime)s - %(name)s - %(levelname)s -
    %(message)s
";

fn parse(text: &str) -> Result<LoggingConf> {
    LoggingConf::parse(text, "logging.conf", &mut vec![])
}
fn failure(text: &str) -> Error {
    parse(text).map(|conf| format!("{conf:?}")).expect_err("it should fail")
}

#[test]
fn a_file_gives_loggers_handlers_and_formats() {
    let conf = parse(CONF).unwrap();
    let loggers: Vec<_> = conf
        .loggers
        .iter()
        .map(|logger| (logger.name.as_str(), logger.level, logger.handlers.len(), logger.propagate))
        .collect();
    assert_eq!(loggers, [("root", Some(20), 2, true), ("my.quiet", Some(40), 0, true)]);
    assert_eq!((conf.handlers[0].level, &conf.handlers[0].sink), (30, &Sink::Stderr));
    assert_eq!(conf.handlers[1].sink, Sink::File { path: "run.log".into(), append: false });
    let record =
        Record { name: "a.b", level: 20, level_name: "INFO", message: "hello", asctime: "NOW", ..Record::default() };
    assert_eq!(conf.handlers[0].format.render(&record).unwrap(), "NOW - a.b - INFO -\nhello");
}

/// The change to the file, the line that is named, part of the message.
#[test]
fn mistakes_are_told_with_their_line() {
    for (from, to, line, message) in [
        ("[loggers]", "loggers", 1, "expected a `[section]`"),
        ("[loggers]", "[loggers", 1, "expected `[section]`"),
        ("level=INFO", "level", 11, "expected `key = value`"),
        ("level=INFO", "level=INFOO", 11, "expected one of CRITICAL"),
        ("level=INFO", "level=INFO\nlevel=INFO", 12, "`level` occurs twice"),
        ("[logger_quiet]", "[logger_root]", 14, "the section [logger_root] occurs twice"),
        ("keys=root,quiet", "keys=quiet", 2, "must include `root`"),
        ("keys=root,quiet", "keys=root,loud", 2, "missing section [logger_loud]"),
        ("qualname=my.quiet", "", 14, "needs `qualname`"),
        ("handlers=console,file", "handlers=console,fil", 12, "unknown handler `fil`"),
        ("formatter=full", "formatter=ful", 22, "unknown formatter `ful`"),
        ("args=('run.log', 'w')", "args=()", 27, "needs a file name"),
        ("args=('run.log', 'w')", "args=('run.log', 'x')", 27, "expected 'a' or 'w'"),
        ("args=('run.log', 'w')", "args=(5,)", 27, "expected a file name"),
        ("args=('run.log', 'w')", "args=('run.log' + 'x',)", 27, "expected a literal"),
        ("args=('run.log', 'w')", "args=(__import__('os').system('id'),)", 27, "expected a literal"),
        ("args=('run.log', 'w')", "args=(os.environ,)", 27, "the name `os.environ` cannot be used"),
        ("args=('run.log', 'w')", "args=('%(here)s',)", 27, "write `%` as `%%`"),
        ("args=('run.log', 'w')", "args=('run.log',", 27, "never closed"),
        ("args=('run.log', 'w')", "args=[x for x in 'ab']", 27, "expected a literal"),
        ("%(name)s", "%(nam)s", 32, "key 'nam' is not in the dict"),
        ("%(name)s", "%(name)d", 32, "a number is required"),
        ("[formatter_full]", "[formatter_full]\nclass=my.Formatter", 32, "is not supported"),
        ("[formatter_full]", "[formatter_full]\nstyle={", 32, "`style`: expected `%`"),
    ] {
        assert!(CONF.contains(from), "{from}");
        let error = failure(&CONF.replacen(from, to, 1));
        assert!(error.message().contains(message), "{to}: {error}");
        assert_eq!(error.get_file(), Some(format!("logging.conf:{line}").as_str()), "{to}: {error}");
    }
}

#[test]
fn an_unknown_handler_is_left_out_with_a_warning() {
    let mut warnings = vec![];
    let text = CONF.replace("class=FileHandler", "class=handlers.SocketHandler");
    let conf = LoggingConf::parse(&text, "logging.conf", &mut warnings).unwrap();
    assert_eq!(conf.handlers[1].sink, Sink::Nowhere);
    assert!(warnings[0].message().contains("`handlers.SocketHandler` is not supported"), "{}", warnings[0]);
}

// ---------------------------------------------------------------- the program

const CONFIG: &str = r#"{"imports": ["$import logging"], "run": [
    "$logging.getLogger('my').info('an info')", "$logging.getLogger('my').warning('a warning')",
    "$logging.getLogger('my.quiet').warning('unheard')", "$logging.getLogger('my.quiet').error('heard')",
    "$logging.getLogger('my').debug('too fine')",
    "$[logging.getLogger('my').warning('again') for i in range(3)]"]}"#;

fn run(folder: &Path, options: &[&str], more: &[&str]) -> Output {
    std::fs::write(folder.join("c.json"), CONFIG).unwrap();
    let args = [options, &["run", "--config_file", "c.json"], more].concat();
    program(folder).args(args).output().unwrap()
}
fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn levels_formats_and_files_are_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logging.conf"), CONF).unwrap();
    let output = run(folder.path(), &[], &[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", log(&output));
    let console = log(&output);
    assert!(
        console.contains(" - my - WARNING -\na warning\n") && console.contains(" - my.quiet - ERROR -\nheard\n"),
        "{console}"
    );
    assert!(!console.contains("an info"), "{console}");
    let file = std::fs::read_to_string(folder.path().join("run.log")).unwrap();
    assert!(file.contains(" - my - INFO -\nan info\n") && file.contains("heard"), "{file}");
    assert!(!file.contains("unheard") && !file.contains("too fine"), "{file}");
    assert_eq!((console.matches("again").count(), file.matches("again").count()), (3, 3), "{console}\n{file}");
    // 2026-01-31 12:00:00,123
    let time = &file[..23];
    assert!(
        time.chars().zip("dddd-dd-dd dd:dd:dd,ddd".chars()).all(|(c, p)| if p == 'd' {
            c.is_ascii_digit()
        } else {
            c == p
        }),
        "{time}"
    );
}

#[test]
fn the_programs_own_options_win_on_the_console() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logging.conf"), CONF.replace("level=INFO", "level=ERROR")).unwrap();
    let quiet = log(&run(folder.path(), &["-q"], &[]));
    assert!(quiet.contains("heard") && !quiet.contains("an info"), "{quiet}");
    // Without a level of its own, the root's keeps `my` from saying more.
    let plain = log(&run(folder.path(), &[], &[]));
    assert!(!plain.contains("a warning") && plain.contains("heard"), "{plain}");
    let off = log(&run(folder.path(), &[], &["--logging_file", "False"]));
    assert!(off.contains("a warning") && !off.contains(" - my - "), "{off}");
}

#[test]
fn json_lines_on_stderr_leave_the_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logging.conf"), CONF).unwrap();
    let output = run(folder.path(), &["--log-format", "json"], &[]);
    let lines = log(&output);
    assert!(output.status.success() && lines.contains("a warning") && lines.contains("an info"), "{lines}");
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
    let file = std::fs::read_to_string(folder.path().join("run.log")).unwrap();
    assert!(file.contains(" - my - INFO -\nan info\n") && file.contains("heard"), "{file}");
}

#[test]
fn a_missing_or_broken_logging_file_is_an_error_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let none = run(folder.path(), &[], &[]);
    assert!(none.status.success() && !log(&none).contains("logging.conf"), "{}", log(&none));
    let missing = run(folder.path(), &[], &["--logging_file", "no.conf"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(log(&missing).contains("cannot find the logging file `no.conf`"), "{}", log(&missing));
    std::fs::write(folder.path().join("logging.conf"), CONF.replace("level=INFO", "level INFO")).unwrap();
    let broken = run(folder.path(), &[], &[]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(log(&broken).contains("--> logging.conf:11") && !log(&broken).contains("a warning"), "{}", log(&broken));
    std::fs::write(folder.path().join("logging.conf"), CONF.replace("'run.log'", "'no/such/folder/run.log'")).unwrap();
    let unwritable = run(folder.path(), &[], &[]);
    assert_eq!(unwritable.status.code(), Some(2));
    assert!(log(&unwritable).contains("cannot open the log file"), "{}", log(&unwritable));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", at in 0..CONF.len(), cut in 0..60usize) {
        let _ = parse(&text);
        let (head, tail) = CONF.split_at(at);
        let _ = parse(&format!("{head}{}{}", text.chars().take(cut).collect::<String>(), tail.get(cut..).unwrap_or_default()));
    }
}
