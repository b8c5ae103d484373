//! Declarations of components against MONAI 1.6.1: tests/data/aliases.txt, made by tests/data/make_aliases.py.

use segbundle::component::{Component, Param};
use segbundle::registry::table;
use std::collections::BTreeSet;
use std::path::Path;

/// One class of the list.
#[derive(Default)]
struct Class {
    path: String,
    /// Name and default of each argument in order; `*args` and `**kwargs` among them.
    arguments: Vec<(String, Option<String>)>,
    aliases: BTreeSet<String>,
}

fn classes() -> Vec<Class> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/aliases.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut classes: Vec<Class> = vec![];
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "class" {
            let path = rest.split(' ').nth(1).unwrap().to_owned();
            classes.push(Class { path, ..Class::default() });
            continue;
        }
        let class = classes.last_mut().unwrap();
        match kind {
            "argument" => class.arguments.push(match rest.split_once(" = ") {
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (rest.to_owned(), None),
            }),
            "alias" => assert!(class.aliases.insert(rest.to_owned()), "{rest} twice"),
            other => panic!("unknown line {other}"),
        }
    }
    classes
}

fn names(component: &Component) -> BTreeSet<String> {
    let short = [component.name].into_iter().chain(component.also.iter().copied()).map(str::to_owned);
    short.chain(component.paths()).collect()
}

#[test]
fn every_component_of_monai_torch_and_ignite_is_in_the_list() {
    let listed: BTreeSet<String> = classes().into_iter().map(|class| class.path).collect();
    let declared = table().components().filter(|component| !component.path.starts_with("segbundle."));
    let declared: BTreeSet<String> = declared.map(|component| component.path.to_owned()).collect();
    assert_eq!(declared, listed, "run tests/data/make_aliases.py after adding a component");
}

#[test]
fn every_name_that_monai_accepts_finds_its_component() {
    let mut wrong = vec![];
    for class in classes() {
        for alias in &class.aliases {
            match table().component(alias) {
                Some(component) if component.path == class.path => {}
                other => wrong.push(format!("{alias}: {:?}", other.map(|component| component.path))),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_component_has_a_dotted_path_that_monai_does_not_have() {
    let mut wrong = vec![];
    for class in classes() {
        let component = table().component(&class.path).unwrap();
        // Short names of torch's and ignite's classes are ours: MONAI finds its own classes only by them.
        let ours =
            names(component).into_iter().filter(|name| name.contains('.') || component.path.starts_with("monai."));
        wrong.extend(ours.filter(|name| !class.aliases.contains(name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Why our default is not MONAI's text and still means the same.
fn same_default(param: &Param, monai: &str) -> bool {
    let Some(ours) = param.default.map(|make| format!("{:?}", make())) else { return false };
    match (ours.parse::<f64>(), monai.parse::<f64>()) {
        (Ok(ours), Ok(monai)) => ours == monai,
        // A function of Python's is our None.
        _ => ours == monai || monai == "<function>" && ours == "None" || param.accepted,
    }
}

#[test]
fn arguments_have_monais_names_order_and_defaults() {
    let mut wrong = vec![];
    for class in classes() {
        let component = table().component(&class.path).unwrap();
        let open = class.arguments.iter().any(|(name, _)| name.starts_with("**"));
        let monai: Vec<_> = class.arguments.iter().filter(|(name, _)| !name.starts_with('*')).collect();
        let ours: Vec<&str> = component.params.iter().map(|param| param.name).collect();
        let theirs: Vec<&str> = monai.iter().map(|(name, _)| name.as_str()).collect();
        // What goes through `**kwargs` comes last.
        if ours.len() < theirs.len() || ours[..theirs.len()] != theirs || ours.len() > theirs.len() && !open {
            wrong.push(format!("{}: arguments {ours:?}, MONAI's {theirs:?}", component.name));
            continue;
        }
        for (param, (name, default)) in component.params.iter().zip(monai) {
            let same = match default {
                Some(default) => same_default(param, default),
                None => param.default.is_none(),
            };
            if !same {
                let ours = param.default.map(|make| make());
                wrong.push(format!("{}: `{name}` is {ours:?} by default, MONAI's {default:?}", component.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_component_and_argument_is_documented() {
    let mut wrong = vec![];
    for component in table().components() {
        if component.summary().is_empty() || !component.summary().ends_with('.') {
            wrong.push(component.name.to_owned());
        }
        for param in component.params {
            let doc = param.doc.trim();
            // An argument without effect says why.
            if doc.is_empty() || param.accepted && !doc.starts_with("No effect: ") && !doc.starts_with("As in ") {
                wrong.push(format!("{}: `{}`: {doc:?}", component.name, param.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
