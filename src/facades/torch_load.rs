//! `torch.load`: read a checkpoint in an expression.
//!
//! Files are always read as with `weights_only=True`: no code in a pickle is executed. Small tensors become arrays that
//! expressions can compute with; larger ones can be inspected and passed to `load_state_dict`.

use crate::checkpoint::{self, StateDict};
use crate::component::{Accepted, Args, BuildContext, Declared, Dict, Function, Key, Value};
use crate::error::{Kind, Result};
use crate::python::common::{PathText, reads};
use crate::torch::{TensorHandle, array_from_tensor};
use crate::{args, err};
use parking_lot::Mutex;

pub const FUNCTIONS: &[Function] = &[reads("torch.load", load)];

/// Maximum number of elements of a tensor that becomes an array.
const SMALL: usize = 1 << 16;

args! {
    struct Load {
        f: PathText,
        /// No effect: tensors are read into host memory and copied to where they are used.
        map_location: Accepted = (),
        /// No effect: only plain serializable parts are read.
        pickle_module: Accepted = (),
        weights_only: Option<bool> = true,
        /// No effect.
        mmap: Accepted = (),
    }
}

fn load(args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = Load::parse("torch.load", args)?;
    let path = &args.f.0;
    let file = checkpoint::load(path).and_then(|file| file.state()).map_err(|error| {
        let error = error.context("torch.load");
        match args.weights_only {
            Some(false) => error.hint(
                "`weights_only=False` is treated like True: only tensors, numbers, strings and collections of them can be loaded",
            ),
            _ => error,
        }
    })?;
    value(&file, call).map_err(|error| error.file(path))
}

fn value(state: &StateDict, call: &mut BuildContext) -> Result<Value> {
    call.charge(1)?;
    let each = |items: &[StateDict], call: &mut BuildContext| {
        items.iter().map(|item| call.nested(|call| value(item, call))).collect::<Result<Vec<_>>>()
    };
    Ok(match state {
        StateDict::None => Value::None,
        StateDict::Bool(b) => Value::Bool(*b),
        StateDict::Int(i) => Value::Int(*i),
        StateDict::Float(x) => Value::Float(*x),
        StateDict::Str(text) => Value::str(text),
        StateDict::Bytes(bytes) => Value::str(String::from_utf8_lossy(bytes)),
        StateDict::List(items) => Value::list(each(items, call)?),
        StateDict::Tuple(items) => Value::tuple(each(items, call)?),
        StateDict::Set(items) => {
            Value::Set(each(items, call)?.iter().map(hashable).collect::<Result<Vec<_>>>()?.into())
        }
        StateDict::Dict(items) => {
            let pairs = items.iter().map(|(key, item)| {
                let key = hashable(&value(key, call)?)?;
                Ok((key, call.nested(|call| value(item, call))?))
            });
            Value::Dict(Dict::new(pairs.collect::<Result<Vec<_>>>()?))
        }
        StateDict::Tensor(tensor) if tensor.numel() <= SMALL => Value::object(array_from_tensor(tensor, call)?),
        StateDict::Tensor(tensor) => Value::object(TensorHandle(Mutex::new(tensor.shallow_clone()))),
    })
}

fn hashable(value: &Value) -> Result<Key> {
    Key::new(value)
        .ok_or_else(|| err!("a checkpoint's key of type {} is not hashable", value.type_name()).kind(Kind::Config))
}
