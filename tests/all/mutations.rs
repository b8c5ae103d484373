//! Working expressions and configs, changed at random: a value or an error, soon and in bounded memory.
//!
//! Short here; longer by
//! `MUTATION_SECONDS=300 cargo test --release --test all mutations -- --nocapture --test-threads=1`. The targets in
//! `tests/fuzz` do the same under libFuzzer.

use segbundle::bundle::expr::{self, Env};
use segbundle::bundle::load::{self, Notes};
use segbundle::bundle::{LoggingConf, Plan, Roots, Rules, Tree};
use segbundle::component::{BuildContext, Dict, Effect, Key, Table, Value};
use segbundle::data::random::RandomState;
use segbundle::env::peak_memory_bytes;
use segbundle::registry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Names that only compute: a random expression must not write files.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    segbundle::python::register(&mut table);
    table.keep(|path, effect| effect == Effect::Pure && !path.starts_with("pathlib."));
    table
});

fn env() -> Arc<Env> {
    let list = Value::list([1, 2, 3].map(Value::Int));
    let dict = Value::Dict(Dict::new([(Key::str("a"), Value::Int(1))]));
    let references =
        [("n", Value::Int(5)), ("xs", list), ("cfg::sub", dict), ("s", Value::str("abc")), ("list::0", Value::Int(7))];
    let modules = ["os", "math", "json", "functools", "collections", "copy"];
    Arc::new(Env {
        references: references.into_iter().map(|(id, value)| (id.to_owned(), value)).collect::<HashMap<_, _>>(),
        imports: Arc::new(
            modules.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect::<BTreeMap<_, _>>(),
        ),
        table: &TABLE,
    })
}

/// What is put into texts: operators, brackets, huge numbers, functions that make large things.
const PIECES: &[&str] = &[
    "10**9",
    "99999999999",
    "-1",
    "2**62",
    "1e308",
    "0",
    "0.1",
    "'a'",
    "''",
    "'%s'",
    "'{}'",
    "None",
    "True",
    "@n",
    "@xs",
    "@s",
    "@cfg#sub",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "::",
    "*",
    "**",
    "//",
    "%",
    "<<",
    "==",
    " in ",
    " not ",
    " and ",
    " if 1 else ",
    " for x in ",
    "lambda x: ",
    "x",
    ":=",
    "f'{",
    "}'",
    ".",
    "...",
    "range(10**9)",
    "sorted(",
    "list(",
    "str(",
    "sum(",
    "zip(",
    "map(",
    "dict(",
    "set(",
    "tuple(",
    "int('9'*",
    ".join(",
    ".replace(",
    ".split(",
    ".format(",
    ".zfill(10**9)",
    ".center(10**8)",
    ".expandtabs(10**7)",
    "re.findall('(.*)*x', ",
    "np.zeros(",
    "np.arange(10**9)",
    "np.ones((10**5, 10**5))",
    "torch.rand(10**8)",
    ".reshape(-1)",
    ".repeat(10**8)",
    "np.tile(",
    "json.dumps(",
    "json.loads('[' * 10**5)",
    "math.factorial(10**6)",
    "math.comb(10**6, 10**5)",
    "math.perm(10**6)",
    "pow(3, 10**9, 7)",
    "copy.deepcopy(",
    "'%0*d' % (10**8, 1)",
    "f'{1:>99999999}'",
    "round(1.5, 10**9)",
    "hash(",
    "iter(",
    "next(",
    "enumerate(",
    "filter(None, ",
    "max(",
    "any(",
];

fn mutated(seeds: &[&str], random: &mut RandomState) -> String {
    let mut pick = |n: usize| random.interval(n.max(1) as u64 - 1) as usize;
    let mut text: Vec<char> = seeds[pick(seeds.len())].chars().collect();
    for _ in 0..=pick(5) {
        let (a, b) = (pick(text.len() + 1), pick(text.len() + 1));
        let (a, b) = (a.min(b), a.max(b));
        match pick(7) {
            0 => drop(text.drain(a..b.min(a + 8))),
            1 => {
                let part: Vec<char> = text[a..b].to_vec();
                text.splice(a..a, part);
            }
            2 => {
                let other: Vec<char> = seeds[pick(seeds.len())].chars().collect();
                let from = pick(other.len() + 1);
                text.splice(a..b, other[from..].iter().copied());
            }
            3 => drop(text.splice(a..b, PIECES[pick(PIECES.len())].chars())),
            _ => drop(text.splice(a..a, PIECES[pick(PIECES.len())].chars())),
        }
        text.truncate(2000);
    }
    text.into_iter().collect()
}

/// Run `one` on changed seeds for the time given; none may take long.
fn go_on(what: &str, seeds: &[&str], one: impl Fn(&str) -> bool + Send + 'static) {
    let seconds = std::env::var("MUTATION_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let seeds: Vec<String> = seeds.iter().map(|seed| (*seed).to_owned()).collect();
    let what = what.to_owned();
    // The stack of a thread of the program's own.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let seed = std::env::var("MUTATION_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let mut random = RandomState::new(seed);
        let (start, memory) = (Instant::now(), peak_memory_bytes());
        let (mut runs, mut good, mut slowest) = (0u64, 0u64, Duration::ZERO);
        while start.elapsed().as_secs() < seconds {
            let text = mutated(&seeds, &mut random);
            let (begin, before) = (Instant::now(), peak_memory_bytes());
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(&text)));
            let elapsed = begin.elapsed();
            assert!(result.is_ok(), "{what} panics:\n{text}");
            assert!(elapsed.as_secs() < 10, "{what} takes {elapsed:?}:\n{text}");
            let grown = peak_memory_bytes().saturating_sub(before);
            assert!(grown < 2 << 30, "{what} takes {} MB more:\n{text}", grown >> 20);
            runs += 1;
            good += u64::from(result.is_ok_and(|good| good));
            slowest = slowest.max(elapsed);
        }
        let grown = peak_memory_bytes().saturating_sub(memory) >> 20;
        println!("{what}: {runs} runs, {good} without an error, the slowest {slowest:?}, peak memory +{grown} MB");
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn changed_expressions_give_values_or_errors() {
    let rows: Vec<&str> = include_str!("../../src/language/tests/expressions.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(text, _)| text)
        .collect();
    go_on("an expression", &rows, |text| match expr::parse(text) {
        Ok(parsed) => {
            parsed.uses();
            expr::eval(&Arc::new(parsed), &env(), &mut BuildContext::default())
                .is_ok_and(|value| format!("{value:?}").len() < 1 << 28)
        }
        Err(error) => {
            assert!(error.get_place().is_some_and(|place| place.offset <= place.text.len()), "{text}: {error}");
            false
        }
    });
}

#[test]
fn changed_configs_give_plans_or_errors() {
    let json = include_str!("../../configs/inference.json");
    let yaml = "imports: [$import os]\na: &x {_target_: Compose, transforms: [\"@b\", '%c']}\nb: *x\nc: |\n  text\n+d: {e: 1e3, <<: *x}\nrun:\n- $@a(@::b)\n";
    let seeds = [
        json,
        "{\"a\": [1, 2.5, \"@b#0\", \"%a\", null], \"b\": {\"_target_\": \"$@a\", \"x\": \"$@::c + 1\"}, \"a#0\": \"\\u00e9\"}",
        yaml,
    ];
    go_on("a config", &seeds, |text| {
        let mut good = false;
        for name in ["a.json", "a.yaml"] {
            let Ok(root) = load::read_text(text, name, &mut Notes::default()) else { continue };
            let plan =
                Plan::new(Tree::new(root).expand().expand(), registry::table(), Roots::default(), Rules::default());
            good |= plan
                .problems()
                .iter()
                .chain(plan.warnings())
                .chain(plan.dormant())
                .map(ToString::to_string)
                .all(|text| !text.is_empty());
        }
        good
    });
}

#[test]
fn changed_logging_files_are_read_or_refused() {
    go_on("a logging file", &[include_str!("../../configs/logging.conf")], |text| {
        LoggingConf::parse(text, "l.conf", &mut vec![]).is_ok()
    });
}
