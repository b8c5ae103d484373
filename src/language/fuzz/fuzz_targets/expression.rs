//! Evaluates arbitrary text as an expression that can call pure functions only: expects an error with a valid position
//! or a value, within the limits of steps, depth and memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segbundle_language::bundle::expr::{self, Env};
use segbundle_language::component::{BuildContext, Dict, Effect, Key, Table, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    segbundle_language::python::register(&mut table);
    // Methods of paths read and write files.
    table.keep(|path, effect| effect == Effect::Pure && !path.starts_with("pathlib."));
    table
});

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let list = Value::list([1, 2, 3].map(Value::Int));
    let dict = Value::Dict(Dict::new([(Key::str("a"), Value::Int(1)), (Key::str("b"), Value::str("x"))]));
    let references = [("n", Value::Int(5)), ("xs", list), ("d", dict), ("s", Value::str("abc")), ("x", Value::Float(0.5))];
    let modules = ["os", "math", "json", "functools", "collections", "copy", "datetime"];
    Arc::new(Env {
        references: references.into_iter().map(|(id, value)| (id.to_owned(), value)).collect::<HashMap<_, _>>(),
        imports: Arc::new(modules.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect::<BTreeMap<_, _>>()),
        table: &TABLE,
    })
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match expr::parse(text) {
        Ok(parsed) => {
            parsed.uses();
            // Changes of the environment's list persist for later inputs; the step limit bounds its length.
            match expr::eval(&Arc::new(parsed), &ENV, &mut BuildContext::with_limits(50_000, 200)) {
                Ok(value) => assert!(format!("{value:?}").len() < 1 << 28),
                Err(error) => assert!(error.get_place().is_none_or(|place| place.offset <= place.text.len())),
            }
        }
        Err(error) => assert!(error.get_place().is_none_or(|place| place.offset <= place.text.len())),
    }
});
