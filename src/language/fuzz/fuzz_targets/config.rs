//! Reads arbitrary text as a config in JSON or YAML or as logging.conf, selected by the first byte: expects an error or a
//! plan whose problems all have a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle_language::bundle::load::{self, Notes};
use segbundle_language::bundle::{LoggingConf, Plan, Roots, Rules, Tree};
use segbundle_language::component::Table;
use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    segbundle_language::python::register(&mut table);
    table
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let name = match first % 3 {
        0 => "fuzz.json",
        1 => "fuzz.yaml",
        _ => {
            let _ = LoggingConf::parse(text, "logging.conf", &mut vec![]);
            return;
        }
    };
    let Ok(root) = load::read_text(text, name, &mut Notes::default()) else { return };
    let plan = Plan::new(Tree::new(root).expand().expand(), &TABLE, Roots::default(), Rules::default());
    for problem in plan.problems().iter().chain(plan.warnings()).chain(plan.dormant()).chain(plan.notes()) {
        assert!(!problem.to_string().is_empty());
    }
});
