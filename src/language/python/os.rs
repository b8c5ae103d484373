//! `os`: environment variables, folders and the number of processors.

use super::common::{PathText, acts, none, reads, to, wrong};
use super::given::Given;
use crate::component::Member::{self, Method};
use crate::component::{Args, BuildContext, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{err, members};

pub const CONSTANTS: super::common::Constants =
    &[("os.environ", || Value::object(Environ)), ("os.sep", || "/".into()), ("os.path.sep", || "/".into())];

pub const FUNCTIONS: &[Function] = &[
    reads("os.getcwd", |args, _| {
        none("os.getcwd", args)?;
        Ok(current_dir()?.into())
    }),
    reads("os.listdir", |args, call| {
        let path: Option<PathText> = Given::bind("os.listdir", &["path"], args)?.get(0)?;
        let path = path.map_or(".".into(), |path| path.0);
        let failed = |e: std::io::Error| err!("os.listdir: {e}").file(&path);
        let mut names = vec![];
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            call.charge(1)?;
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names.into())
    }),
    reads("os.getenv", |args, _| get_variable("os.getenv", args)),
    reads("os.cpu_count", |args, _| {
        none("os.cpu_count", args)?;
        Ok(std::thread::available_parallelism().map_or(Value::None, |n| Value::Int(n.get() as i64)))
    }),
    acts("os.makedirs", |args, _| {
        let given = Given::bind("os.makedirs", &["name", "mode", "exist_ok"], args)?;
        make_folder("os.makedirs", &given.need::<PathText>(0)?.0, true, given.get(2)?.unwrap_or(false))
    }),
    acts("os.mkdir", |args, _| {
        let given = Given::bind("os.mkdir", &["path", "mode"], args)?;
        make_folder("os.mkdir", &given.need::<PathText>(0)?.0, false, false)
    }),
];

/// Creates a folder, with its missing parents if `parents`; an existing folder is an error unless `exist_ok`.
pub fn make_folder(name: &str, path: &str, parents: bool, exist_ok: bool) -> Result<Value> {
    let folder = std::path::Path::new(path);
    if folder.symlink_metadata().is_ok() && !(exist_ok && folder.is_dir()) {
        return Err(err!("{name}: file exists: '{path}'").hint("`exist_ok=True` accepts an existing folder"));
    }
    let result = if parents { std::fs::create_dir_all(path) } else { std::fs::create_dir(path) };
    match result {
        Err(e) if !(exist_ok && folder.is_dir()) => Err(err!("{name}: {e}").file(path)),
        _ => Ok(Value::None),
    }
}

/// Path of the working directory.
pub fn current_dir() -> Result<String> {
    let path = std::env::current_dir().map_err(|e| err!("the working directory cannot be read: {e}"))?;
    Ok(path.to_string_lossy().into_owned())
}

fn get_variable(name: &str, args: Args) -> Result<Value> {
    let given = Given::bind(name, &["key", "default"], args)?;
    Ok(variable(&given.need::<String>(0)?).or_else(|| given.any(1).cloned()).unwrap_or_default())
}

fn variable(key: &str) -> Option<Value> {
    // std::env panics on these names.
    if key.is_empty() || key.contains(['=', '\0']) {
        return None;
    }
    std::env::var_os(key).map(|value| Value::str(value.to_string_lossy()))
}

/// `os.environ`: the current environment, which a config cannot change.
struct Environ;

static MEMBERS: &[Member<Environ>] = &[Method("get", |_, args, _| get_variable("os.environ.get", args))];

impl Object for Environ {
    fn type_name(&self) -> &str {
        "os._Environ"
    }
    fn repr(&self) -> String {
        "environ({…})".into()
    }
    fn index(&self, index: &Value) -> Result<Value> {
        let key: String = to("os.environ[]", index)?;
        variable(&key).ok_or_else(|| {
            err!("os.environ: the environment has no variable '{key}'").kind(Kind::Config).hint(format!(
                "set it, or write `os.environ.get('{key}', DEFAULT)`; torchrun sets LOCAL_RANK, RANK and WORLD_SIZE"
            ))
        })
    }
    members!(MEMBERS);
    fn operator(&self, op: &str, other: &Value, _reflected: bool, _: &mut BuildContext) -> Result<Option<Value>> {
        match (op, other) {
            ("in", Value::Str(key)) => Ok(Some(variable(key).is_some().into())),
            ("in", other) => Err(wrong("os.environ", "str", other)),
            _ => Ok(None),
        }
    }
}
