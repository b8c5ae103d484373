//! The `$` expression language against CPython's results, its errors, and its limits.

use proptest::prelude::*;
use segbundle_language::bundle::expr::{self, Env, Import};
use segbundle_language::component::{Args, BuildContext, Constant, Dict, Function, Key, Table, Value};
use segbundle_language::error::{Error, Kind, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// The built-ins, and a few dotted names.
fn table() -> &'static Table {
    static EXTRA: &[Function] = &[
        Function { path: "os.path.join", effect: segbundle_language::component::Effect::Pure, call: join },
        Function { path: "numpy.float32", effect: segbundle_language::component::Effect::Pure, call: join },
    ];
    static CONSTANTS: &[Constant] = &[("math.pi", || Value::Float(3.5)), ("torch.__version__", || Value::str("2.11"))];
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::default();
        table.add_functions(segbundle_language::python::builtins::FUNCTIONS);
        table.add_functions(EXTRA);
        table.add_constants(CONSTANTS);
        table
    })
}

fn join(args: Args, _: &mut BuildContext) -> Result<Value> {
    Ok(Value::from(args.positional.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")))
}

fn env() -> Arc<Env> {
    let list = Value::list([1, 2, 3].map(Value::Int));
    let dict = Value::Dict(Dict::new([(Key::str("a"), Value::Int(1))]));
    let references =
        [("n", Value::Int(5)), ("xs", list), ("cfg::sub", dict), ("s", Value::str("abc")), ("list::0", Value::Int(7))];
    let imports = [("os", "os"), ("join", "os.path.join"), ("m", "math"), ("gone", "no.such.module"), ("len", "math")];
    Arc::new(Env {
        references: references.into_iter().map(|(id, value)| (id.to_owned(), value)).collect::<HashMap<_, _>>(),
        imports: Arc::new(
            imports.into_iter().take(4).map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<BTreeMap<_, _>>(),
        ),
        table: table(),
    })
}

fn run_with(text: &str, call: &mut BuildContext) -> Result<Value> {
    expr::eval(&Arc::new(expr::parse(text)?), &env(), call)
}
fn run(text: &str) -> Result<Value> {
    run_with(text, &mut BuildContext::default())
}
fn shown(text: &str) -> String {
    match run(text) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    }
}
fn failure(text: &str) -> Error {
    match run(text) {
        Ok(value) => panic!("`{text}` gave {value:?}, expected an error"),
        Err(error) => error,
    }
}

#[test]
fn every_construct_gives_cpythons_result() {
    let rows: Vec<&str> = include_str!("expressions.tsv").lines().filter(|line| !line.starts_with("# ")).collect();
    assert!(rows.len() > 700, "found only {} rows", rows.len());
    let mut wrong = vec![];
    for row in rows {
        let (text, wanted) = row.split_once('\t').unwrap();
        let found = shown(text);
        if found != wanted {
            wrong.push(format!("{text}\n    expected {wanted}\n    found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn references_can_be_used_wherever_values_can() {
    for (text, wanted) in [
        ("@n + 1", "6"),
        ("@n@n", "error"),
        ("@n @ @n", "error"),
        ("@xs[-1]", "3"),
        ("@xs[::2]", "[1, 3]"),
        ("@cfg::sub['a']", "1"),
        ("@cfg#sub['a']", "1"),
        ("@list::0 * 2", "14"),
        ("[@n for _ in range(2)]", "[5, 5]"),
        ("f'{@s}-{@cfg#sub}'", "\"abc-{'a': 1}\""),
        ("f'{@n:>3}'", "'  5'"),
        ("@xs if @n > 3 else None", "[1, 2, 3]"),
        ("(lambda k=@n: k)()", "5"),
        ("@s.upper() + '.png'", "'ABC.png'"),
        ("'\\x40n'", "'@n'"),
        ("'user@ home'", "'user@ home'"),
        // `#` is read as `::` everywhere, as in MONAI.
        ("'color #fff'", "'color ::fff'"),
        ("@xs[1#]", "[2, 3]"),
    ] {
        let found = shown(text);
        assert!(if wanted == "error" { found.starts_with("error") } else { found == wanted }, "{text}: {found}");
    }
    let parsed = expr::parse("@a::b + f'{@c}' + @d#e[@f] + 'x'").unwrap();
    let ids: Vec<(&str, usize)> =
        parsed.references().iter().map(|reference| (reference.id.as_str(), reference.offset)).collect();
    assert_eq!(ids, [("a::b", 0), ("c", 11), ("d::e", 18), ("f", 23)]);
}

#[test]
fn names_are_looked_up_in_pythons_order() {
    for (text, wanted) in [
        ("os.path.join('a', 'b')", "'a/b'"),
        ("join('a', 'b')", "'a/b'"),
        ("m.pi", "3.5"),
        ("np.float32('x')", "'x'"),
        ("numpy.float32", "<function numpy.float32>"),
        ("torch.__version__", "'2.11'"),
        ("(lambda len: len)(3)", "3"),
        ("[len for len in [1]]", "[1]"),
        ("gone", "<module 'no.such.module'>"),
        ("import os.path as p", "<module 'os.path'>"),
        ("from os.path import join", "<function os.path.join>"),
    ] {
        assert_eq!(shown(text), wanted, "{text}");
    }
    // An import shadows a built-in.
    let imports = Arc::new(BTreeMap::from([("len".to_owned(), "math.pi".to_owned())]));
    let env = Arc::new(Env { references: HashMap::new(), imports, table: table() });
    let value = expr::eval(&Arc::new(expr::parse("len").unwrap()), &env, &mut BuildContext::default()).unwrap();
    assert_eq!(format!("{value:?}"), "3.5");
}

#[test]
fn imports_bind_names_to_paths() {
    let import = |name: &str, path: &str| Import { name: name.into(), path: path.into() };
    for (text, wanted) in [
        ("import os", vec![import("os", "os")]),
        ("import os.path", vec![import("os", "os")]),
        ("import torch.distributed as dist", vec![import("dist", "torch.distributed")]),
        ("import a, b as c", vec![import("a", "a"), import("c", "b")]),
        ("from a.b import c", vec![import("c", "a.b.c")]),
        ("from a import (b, c as d,)", vec![import("b", "a.b"), import("d", "a.c")]),
    ] {
        assert_eq!(expr::parse(text).unwrap().imports(), Some(&wanted[..]), "{text}");
    }
    assert_eq!(expr::parse("1").unwrap().imports(), None);
}

#[test]
fn uses_lists_global_names_and_calls() {
    let text = "[os.path.join(x, *ys, end=1) for x in glob.glob(d)] + (lambda q, r=np.pi: q.z + r)(len(s := 'a'), s)";
    let uses = expr::parse(text).unwrap().uses();
    let paths: Vec<&str> = uses.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, ["glob.glob", "d", "os.path.join", "ys", "np.pi", "len"]);
    assert_eq!(uses[2].call, Some(vec!["end".to_owned()]));
    assert_eq!(uses[2].offset, 1);
    assert_eq!(uses[4].call, None);
    let uses = expr::parse("torch.device('cuda:' + os.environ.get('R', '0')).type").unwrap().uses();
    assert_eq!(uses[0].path, "torch.device");
    assert_eq!(uses[1].path, "os.environ.get");
}

#[test]
fn a_lambda_outlives_its_expression() {
    let value = run("[lambda x, k=@n: x * k + @n for _ in range(1)][0]").unwrap();
    assert!(value.callable());
    assert_eq!(value.call(Args::positional([Value::Int(2)]), &mut BuildContext::default()).unwrap(), Value::Int(15));
    let worker = std::thread::spawn(move || {
        value.call(Args::positional([Value::Int(3)]), &mut BuildContext::default()).unwrap()
    });
    assert_eq!(worker.join().unwrap(), Value::Int(20));
}

#[test]
fn expressions_modify_lists_of_the_config_in_place() {
    let (parsed, env) = (Arc::new(expr::parse("@xs.append(4)").unwrap()), env());
    expr::eval(&parsed, &env, &mut BuildContext::default()).unwrap();
    assert_eq!(format!("{:?}", env.references["xs"]), "[1, 2, 3, 4]");
}

/// Rows: text, offset of the error, part of the message, part of the hint.
#[test]
fn syntax_errors_have_a_location_and_a_hint() {
    for (text, offset, message, hint) in [
        ("", 0, "expected a value, found the end", ""),
        ("1 +", 3, "expected a value, found the end", ""),
        ("(1", 0, "`(` was never closed", ""),
        ("[1)", 2, "`)` does not match `[`", ""),
        ("1)", 1, "unmatched `)`", ""),
        ("'abc", 0, "this string was never closed", ""),
        ("'mail x@y'", 7, "`@y` is inside a string", "f'…{@y}…'"),
        ("f'a@n'", 3, "is inside a string", ""),
        ("f'{1", 2, "`{` in the f-string was never closed", ""),
        ("f'{}'", 2, "expected a value in the braces", ""),
        ("f'}'", 2, "a single `}`", "}}"),
        ("f'{1!x}'", 2, "`!r` or `!s`", ""),
        ("x = 1", 2, "expected an operator or the end, found `=`", ":="),
        ("x += 1", 2, "found `+=`", "assignments"),
        ("x := 1", 2, "found `:=`", "parentheses"),
        ("1; 2", 1, "unexpected character `;`", "single"),
        ("for x in y: pass", 0, "found the keyword `for`", ""),
        ("def f(): pass", 0, "found the keyword `def`", "statements"),
        ("return 1", 0, "found the keyword `return`", "statements"),
        ("(yield 1)", 1, "found the keyword `yield`", "statements"),
        ("await x", 0, "found the keyword `await`", "statements"),
        ("[x async for x in y]", 3, "found the keyword `async`", "statements"),
        ("1\n+ 2", 1, "found a line break", "brackets"),
        ("1 if 2", 6, "expected `else`", ""),
        ("a@b", 1, "found `@b`", "matrix product"),
        ("1j", 0, "complex", ""),
        ("b'x'", 0, "bytes", ""),
        ("007", 0, "start with 0", "0o"),
        ("1__0", 0, "single underscores", ""),
        ("99999999999999999999", 0, "64 bits", ""),
        ("f(a=1, a=2)", 7, "given twice", ""),
        ("f(a=1, 2)", 7, "positional argument follows", ""),
        ("f(x for x in y, 1)", 2, "parentheses", ""),
        ("lambda x, x: 1", 10, "duplicate parameter `x`", ""),
        ("lambda x=1, y: 1", 12, "without a default", ""),
        ("lambda *: 1", 8, "expected a name after `*`", ""),
        ("lambda *a, b: 1", 11, "parameters after `*`", ""),
        ("f'{x=}'", 4, "expected the end of the f-string's value, found `=`", ""),
        ("[x for x.y in z]", 7, "names only", ""),
        ("*a", 0, "`*` is only allowed", ""),
        ("x[]", 2, "expected an index", ""),
        ("x.1", 1, "expected", ""),
        ("a b", 2, "expected an operator or the end, found `b`", ""),
        ("1 $ 2", 2, "unexpected character `$`", ""),
        ("{1: 2, 3}", 8, "expected `:`", ""),
        ("{**a, 1}", 7, "expected `:`", ""),
        ("from . import x", 5, "relative imports", ""),
        ("from a import *", 14, "not supported", ""),
        ("import 1", 7, "a module's name", ""),
        ("'\\xZ1'", 1, "2 hexadecimal digits", ""),
        ("'\\N{DASH}'", 1, "named characters", ""),
    ] {
        let error = expr::parse(text).map(|_| ()).expect_err(text);
        assert_eq!(error.get_kind(), Kind::Config, "{text}");
        let place = error.get_place().unwrap_or_else(|| panic!("{text}: no place: {error}"));
        assert_eq!((place.text.as_str(), place.offset), (text, offset), "{error}");
        assert!(error.message().contains(message), "{text}: {error}");
        assert!(error.get_hint().unwrap_or("").contains(hint), "{text}: {error}");
    }
}

#[test]
fn run_time_errors_have_a_location_and_a_hint() {
    for (text, offset, message, hint) in [
        ("1 / 0", 0, "division by zero", ""),
        ("(2 + 1 // 0)", 5, "division or modulo by zero", ""),
        ("[1, 2][5]", 6, "list index out of range: 5, where the length is 2", ""),
        ("{'image': 1}['imag']", 12, "key 'imag' is not in the dict", "did you mean `image`?"),
        ("'a' + 1", 0, "unsupported operand types for `+`: str and int", "str("),
        ("nam", 0, "name `nam` is not defined", ""),
        ("math.pi", 0, "name `math` is not defined", "$import math"),
        ("lenn(1)", 0, "name `lenn` is not defined", "did you mean `len`?"),
        ("'a'.uper()", 3, "'str' object has no attribute `uper`", "did you mean `upper`?"),
        (
            "os.path.joinn('a')",
            7,
            "`os.path.joinn` is not among the functions that a config may call",
            "did you mean `os.path.join`?",
        ),
        (
            "os.system('rm')",
            2,
            "`os.system` is not among the functions that a config may call",
            "available in `os`: path",
        ),
        ("gone.thing()", 4, "`no.such.module.thing` is not among", "no.such.module"),
        ("gone(1)", 0, "`no.such.module` is not among", ""),
        ("@nothing", 0, "`@nothing` has no value", ""),
        ("5(1)", 0, "'int' object is not callable", ""),
        ("(lambda x: x)()", 1, "needs argument `x`", ""),
        ("(lambda x: x)(1, 2)", 1, "takes at most 1 positional arguments, found 2", ""),
        ("(lambda x: x)(1, y=2)", 1, "no argument `y`", ""),
        ("(lambda x: x)(1, x=2)", 1, "several values for argument `x`", ""),
        ("[a for a, b in [(1,)]]", 3, "not enough values to unpack (expected 2, got 1)", ""),
        ("[a for a, b in [(1, 2, 3)]]", 3, "too many values to unpack", ""),
        ("[x for x in 5]", 12, "'int' object is not iterable", ""),
        ("{[1]: 2}", 1, "unhashable type: 'list'", ""),
        ("1 < 'a'", 0, "unsupported operand types for `<`: int and str", ""),
        ("sorted([1, 'a'])", 0, "unsupported operand types for `<`: str and int", ""),
        ("2 ** 64", 0, "integer overflow", "floats"),
        ("1 << 63", 0, "integer overflow", ""),
        ("9223372036854775807 + 1", 0, "integer overflow", ""),
        ("int('x')", 0, "invalid literal for int() with base 10: 'x'", ""),
        ("float('1__0')", 0, "could not convert string to float", ""),
        ("'{}'.format()", 4, "out of range", ""),
        ("f'{1:q}'", 3, "unknown format code 'q'", ""),
        ("'%d' % 'a'", 0, "a number is required", ""),
        ("'%s %s' % (1,)", 0, "not enough arguments", ""),
        ("'%s' % (1, 2)", 0, "not all arguments converted", ""),
        ("'a b'.split(None, 1)", 5, "no separator", ""),
        ("{1: 2}.keys() == {1}", 0, "comparing dict_keys is not supported", ""),
        ("{1}.add(2)", 3, "sets cannot be modified in place", "|"),
        ("[].pop()", 2, "pop from empty list", ""),
        ("len(5)", 0, "has no len()", ""),
        ("reversed({1})", 0, "'set' object is not reversible", ""),
        ("next([1])", 0, "not an iterator", "iter("),
        ("next(iter([]))", 0, "exhausted", "default"),
        ("max([])", 0, "empty iterable", "default"),
        ("range(1, 2, 0)", 0, "must not be zero", ""),
        ("f(**{'a': 1})", 0, "name `f`", ""),
        ("print(**[1])", 8, "`**`: expected a dict", ""),
        ("','.join([1])", 3, "sequence item 0: expected str, found int", "map(str"),
        ("len(1, 2)", 0, "at most 1 arguments", ""),
        ("sum(['a', 'b'])", 0, "unsupported operand types for `+`: int and str", ""),
        ("().__class__", 2, "no attribute `__class__`", ""),
        ("(lambda: 1).__globals__", 11, "no attribute `__globals__`", ""),
        ("'{0.__class__}'.format(1)", 15, "expected a name or position", "use an f-string"),
        ("__import__('os')", 0, "`__import__` is not defined", ""),
        ("eval('1')", 0, "`eval` is not defined", ""),
        ("open('x')", 0, "`open` is not defined", ""),
        ("(g := [], g.append(next(g[0]) for _ in [1]), next(g[0]))", 19, "generator already executing", ""),
    ] {
        let error = failure(text);
        let place = error.get_place().unwrap_or_else(|| panic!("{text}: no place: {error}"));
        assert!(error.message().contains(message), "{text}: {error}");
        assert!(error.get_hint().unwrap_or("").contains(hint), "{text}: {error}");
        assert_eq!((place.text.as_str(), place.offset), (text, offset), "{error}");
    }
}

/// Runs with a stack of 2 MiB.
#[test]
fn expressions_that_exhaust_memory_time_or_stack_are_errors() {
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let mut texts: Vec<String> = [
        "'a' * 10**9",
        "'a' * 10**18",
        "[0] * 10**12",
        "(0,) * 10**12",
        "10**10**10",
        "2**10000000000",
        "1 << 10**12",
        "f'{1:1000000000}'",
        "f'{1:{10**9}}'",
        "f'{1:.1000000000f}'",
        "'{:1000000000}'.format(1)",
        "'%1000000000d' % 1",
        "'%*d' % (10**9, 1)",
        "'%.1000000000f' % 1",
        "'a'.ljust(10**12)",
        "'a'.center(10**12)",
        "'1'.zfill(10**12)",
        "'\\t'.expandtabs(10**12)",
        "list(range(10**12))",
        "[x for x in range(10**12)]",
        "sum(range(10**12))",
        "max(x for x in range(10**12))",
        "sorted(range(10**12))",
        "list(iter(lambda: 1, 2))",
        "(lambda xs: [xs.append(x) for x in xs])([1])",
        "(lambda f: f(f))(lambda f: f(f))",
        "(lambda f: f(f))(lambda f: [f(f)])",
        "(f := lambda n: f(n + 1) + 1)(0)",
        "(f := lambda n: [(-(f(n + 1)) if n >= 0 else 0)])(0)",
        "(f := lambda n: sorted([1], key=lambda k: f(n)))(0)",
        "(f := lambda n: list(map(f, [n])))(0)",
        "(f := lambda n: [x for x in (f(y) for y in [n])])(0)",
        "(f := lambda n: f'{f(n)}')(0)",
        "[0 for a in range(10**6) for b in range(10**6) if 0]",
        "'abc'.replace('', 'x' * 10**6) * 100",
        "('x' * 10**6).join(['y'] * 1000)",
        "[[0] * 1000] * 10**9",
        "str([[0] * 10**6] * 1000)",
        "[(t := (t, t)) for t in [1] for _ in range(1)] and [(s := [s, s]) for _ in range(60)]",
        "zip(*[range(10**12)] * 10**8)",
        "dict.fromkeys(range(10**12))",
        "set(range(10**12))",
        "(lambda l: (l.append(l), l == [l], hash((l,))))([])",
        "(t := (1,)) and [(t := (t, t)) for _ in range(60)] and {t: 1}",
        "(t := (1,)) and [(t := (t, t)) for _ in range(60)] and hash(t)",
        "(t := (1,)) and [(t := (t, t)) for _ in range(60)] and t in {1: 2}",
        "(t := (1,)) and [(t := (t, t)) for _ in range(60)] and {t}",
        "hash(tuple(range(10**6)))",
    ]
    .map(String::from)
    .into();
    for n in [1000, 100_000] {
        texts.extend([
            deep("(", ")", n),
            deep("[", "]", n),
            deep("{", "}", n),
            deep("{1:", "}", n),
            deep("f(", ")", n),
            deep("x[", "]", n),
            deep("lambda: ", "", n),
            deep("-", "", n),
            deep("not ", "", n),
            deep("1 if 1 else ", "", n),
            deep("1 ** ", "", n),
            deep("(lambda: ", ")()", n),
            deep("[x for x in ", "]", n),
            deep("f'{", "}'", n),
            deep("f\"{f'{", "}'}\"", n),
            deep("[*", "]", n),
            format!("[x for {}x{} in y]", "(".repeat(n), ")".repeat(n)),
            "(".repeat(n),
            "f'{".repeat(n),
            format!("f'{{1:{}", "{1:".repeat(n)),
        ]);
    }
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            let start = std::time::Instant::now();
            let result = run(&text);
            let elapsed = start.elapsed();
            let short: String = text.chars().take(60).collect();
            assert!(result.is_err(), "`{short}` gave a value");
            assert!(elapsed.as_secs() < 10, "`{short}` took {elapsed:?}");
        }
    });
    worker.unwrap().join().unwrap();
}

/// The standard library formats at most 65535 decimals.
#[test]
fn large_precisions_are_padded_with_zeros() {
    for text in [
        "'%.100000f' % 1e308",
        "f'{1e308:.99999f}'",
        "'{:.70000e}'.format(0.1)",
        "f'{0.1:.80000g}'",
        "'%.66000f' % 0.5",
        "f'{0.25:.70000%}'",
    ] {
        let value = run(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(value.as_str().unwrap().starts_with(['1', '0', '2']), "{text}");
    }
    assert_eq!(
        shown("('%.66000f' % 0.5).rstrip('0'), len('%.66000f' % 0.5), len('{:.70000e}'.format(0.1))"),
        "('0.5', 66002, 70006)"
    );
    // An error at a large offset in a line.
    let far = failure(&format!("'{}' + 1", "a".repeat(70_000)));
    assert!(far.to_string().contains("unsupported operand types for `+`"), "{}", far.message());
    let far = failure(&format!("1{} + nam", " + 1".repeat(20_000)));
    assert!(far.to_string().contains("name `nam` is not defined"));
}

#[test]
fn chains_of_operators_can_have_any_length() {
    let n = 20_000;
    for text in [
        format!("1{}", " + 1".repeat(n)),
        format!("'a'{}", ".strip()".repeat(n)),
        format!("[{}]", "1,".repeat(n)),
        format!("1{}", " and 1".repeat(n)),
        format!("1{}", " <= 1".repeat(n)),
        "'a'".repeat(n),
    ] {
        assert!(run(&text).is_ok(), "{}", &text[..20]);
    }
    assert!(shown(&deep_value(80)).starts_with("[[[["));
}
fn deep_value(n: usize) -> String {
    format!("{}{}", "[".repeat(n), "]".repeat(n))
}

/// The values are nested too deeply for recursive functions.
#[test]
fn deep_values_are_dropped_and_shown() {
    let texts = [
        "(x := []) or [(x := [x]) for _ in range(1000000)] and x",
        "(x := ()) or [(x := (x,)) for _ in range(1000000)][-1] and x",
        "(x := {}) or [(x := {1: x}) for _ in range(1000000)] and x",
        "(x := iter([])) and [(x := iter((x,))) for _ in range(500000)] and x",
        "(x := [1]) and [(x := map(str, x)) for _ in range(300000)] and x",
        "(x := 1) and [(x := (lambda k=x: k)) for _ in range(300000)] and x",
        "(x := 1) and [(x := (lambda k: lambda: k)(x)) for _ in range(300000)] and x",
        "(x := [].append) and [(x := [x].append) for _ in range(300000)] and x",
    ];
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            let value = run_with(text, &mut BuildContext::with_limits(50_000_000, 200))
                .unwrap_or_else(|error| panic!("{error}"));
            assert!(format!("{value:?}").len() < 1_000_000);
            let _ = Key::new(&value);
            drop(value);
        }
        let deep = "(x := (1,)) and [(x := (x,)) for _ in range(1000)] and";
        for tail in
            ["hash(x)", "x == (lambda y: [(y := (y,)) for _ in range(1000)][-1])((1,))", "{x}", "sorted([x, (x,)])"]
        {
            assert!(run(&format!("{deep} {tail}")).is_err(), "{tail}");
        }
        assert!(run("(x := [1]) and [(x := map(str, x)) for _ in range(1000)] and list(x)").is_err());
    });
    worker.unwrap().join().unwrap();
    assert_eq!(shown("(lambda l: (l.append(l), l)[1])([1])"), "[1, [...]]");
}

const TOKENS: &[&str] = &[
    "1",
    "0",
    "-1",
    "2.5",
    "'a'",
    "\"b\"",
    "f'{",
    "}'",
    "f\"{x!r:>{w}}\"",
    "x",
    "y",
    "@n",
    "@xs",
    "@cfg#sub",
    "@",
    "#",
    "lambda",
    "x:",
    "if",
    "else",
    "for",
    "in",
    "not",
    "and",
    "or",
    "is",
    "None",
    "True",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    ":=",
    "=",
    "==",
    "<",
    "+",
    "-",
    "*",
    "**",
    "/",
    "//",
    "%",
    "&",
    "~",
    ".",
    "...",
    "len",
    "range",
    "list",
    "dict",
    "sorted",
    "str",
    ".join",
    ".format",
    ".items()",
    "import",
    "from",
    "\n",
    " ",
    "\\",
    "'",
    "'''",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,60}") {
        let _ = run_with(&text, &mut BuildContext::with_limits(100_000, 200)).map(|value| format!("{value:?}"));
    }
    #[test]
    fn random_tokens_never_panic(picks in proptest::collection::vec(0..TOKENS.len(), 0..24), spaces in any::<bool>()) {
        let tokens: Vec<&str> = picks.iter().map(|at| TOKENS[*at]).collect();
        let text = tokens.join(if spaces { " " } else { "" });
        if let Err(error) = run_with(&text, &mut BuildContext::with_limits(100_000, 200)) {
            let place = error.get_place().expect("every error has a place");
            prop_assert!(place.offset <= text.len(), "{error}");
        }
        if let Ok(parsed) = expr::parse(&text) {
            let _ = parsed.uses();
        }
    }
    /// Combines parts of valid expressions.
    #[test]
    fn random_splices_never_panic(a in 0..700usize, b in 0..700usize, cut in 0..40usize, join in 0..40usize) {
        let rows: Vec<&str> = include_str!("expressions.tsv").lines().filter_map(|line| line.split_once('\t')).map(|(text, _)| text).collect();
        let head: String = rows[a % rows.len()].chars().take(cut).collect();
        let tail: String = rows[b % rows.len()].chars().skip(join).collect();
        let _ = run_with(&(head + &tail), &mut BuildContext::with_limits(100_000, 200)).map(|value| format!("{value:?}"));
    }
    #[test]
    fn random_formats_never_panic(spec in "[<>=^*0-9.,_%+ -]{0,8}[a-zA-Z%]?", x in any::<f64>(), i in any::<i64>()) {
        for value in [Value::Float(x), Value::Int(i), Value::str("text")] {
            let _ = expr::values::format::format(&value, &spec, &mut BuildContext::with_limits(10_000, 100));
        }
    }
}
