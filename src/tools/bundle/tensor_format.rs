//! Format of a network's inputs and outputs in metadata.json: channels, dtype, and a spatial shape that may depend on
//! unknown factors.
//!
//! MONAI source: `_get_net_io_info` and `_get_fake_spatial_shape` (monai.bundle.scripts, 1.6.1).

use crate::bundle::node::Content;
use crate::bundle::{METADATA_ID, Node, Tree, expr, id};
use crate::component::{BuildContext, FromValue, Table, Value};
use crate::err;
use crate::error::{Error, Kind, Result, did_you_mean};
use crate::python::array::Type;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// Format of one tensor.
#[derive(Debug, Clone)]
pub struct TensorFormat {
    /// Number of channels.
    pub channels: i64,
    /// Type of the values.
    pub dtype: Type,
    /// Id in the config.
    pub id: String,
    sizes: Vec<Node>,
}

impl TensorFormat {
    /// Reads the entries of a tensor, for messages at `id`.
    ///
    /// # Errors
    /// An entry is missing or has another type.
    pub fn new(tensor: &Node, id: &str) -> Result<TensorFormat> {
        let entry = |key: &str| {
            tensor
                .child(key)
                .ok_or_else(|| err!("`{key}` is missing").kind(Kind::Config).at(Some(&tensor.origin.text()), id))
        };
        let channels = entry("num_channels")?;
        let Content::Leaf(Value::Int(count @ 1..)) = channels.content else {
            return Err(wrong(channels, id, "num_channels", "an integer of at least 1"));
        };
        let dtype = entry("dtype")?;
        let ty = dtype.as_str().and_then(|name| Type::from_value(&Value::str(name)));
        let ty = ty.ok_or_else(|| wrong(dtype, id, "dtype", "a dtype such as \"float32\""))?;
        let sizes = entry("spatial_shape")?;
        let Content::List(items) = &sizes.content else {
            return Err(wrong(sizes, id, "spatial_shape", "a list of sizes"));
        };
        Ok(TensorFormat { channels: count, dtype: ty, id: id.to_owned(), sizes: items.clone() })
    }

    /// The format of the tensor `name` among the `side` "inputs" or "outputs" of the metadata in a config.
    ///
    /// # Errors
    /// The metadata lack the tensor, or see [`TensorFormat::new`].
    pub fn of(tree: &Tree, side: &str, name: &str) -> Result<TensorFormat> {
        let parent = id::join(&id::join(METADATA_ID, "network_data_format"), side);
        let id = id::join(&parent, name);
        let missing = || {
            let others = tree.get(&parent).map(Node::children).unwrap_or_default();
            let near = did_you_mean(name, others.iter().map(|(key, _)| key.as_str()));
            err!("the metadata have no `{id}`").kind(Kind::Config).at(Some(&tree.place(&id)), &id).suggest(near)
        };
        TensorFormat::new(tree.get(&id).ok_or_else(missing)?, &id)
    }

    /// The spatial shape for powers `p`, factors `n` and free sizes `any`: `"2**p"`, `"16*n"`, `"*"`.
    ///
    /// # Errors
    /// A size is not an expression of `p` and `n`, or not an integer of at least 1.
    pub fn size(&self, p: i64, n: i64, any: i64) -> Result<Vec<i64>> {
        let size = |(axis, node): (usize, &Node)| {
            let key = id::join("spatial_shape", &axis.to_string());
            let found = match &node.content {
                Content::Leaf(Value::Int(size)) => *size,
                Content::Leaf(Value::Str(text)) if text.trim() == "*" => any,
                Content::Leaf(Value::Str(text)) => match evaluate(text, p, n) {
                    Ok(size) => size,
                    Err(error) => return Err(error.at(Some(&node.origin.text()), &id::join(&self.id, &key))),
                },
                _ => return Err(wrong(node, &self.id, &key, "an integer or an expression")),
            };
            if found < 1 {
                return Err(wrong(node, &self.id, &key, &format!("a size of at least 1 for p={p} and n={n}")));
            }
            Ok(found)
        };
        self.sizes.iter().enumerate().map(size).collect()
    }
}

fn wrong(node: &Node, id: &str, key: &str, expected: &str) -> Error {
    err!("expected {expected}, found {:?}", node.to_value())
        .kind(Kind::Config)
        .at(Some(&node.origin.text()), &id::join(id, key))
}

/// Value of an expression of integers, `p` and `n`. It cannot name anything else.
fn evaluate(text: &str, p: i64, n: i64) -> Result<i64> {
    static NOTHING: OnceLock<Table> = OnceLock::new();
    let parsed = expr::parse(text).map_err(|error| error.kind(Kind::Config))?;
    if let Some(other) = parsed.uses().iter().find(|name| !["p", "n"].contains(&&*name.path)) {
        return Err(err!("only the variables p and n are supported, found `{}`", other.path).kind(Kind::Config));
    }
    let bound = expr::parse(&format!("(lambda p, n: ({text}))({p}, {n})"))?;
    let env =
        expr::Env { references: HashMap::new(), imports: Arc::default(), table: NOTHING.get_or_init(Table::default) };
    match expr::eval(&Arc::new(bound), &Arc::new(env), &mut BuildContext::default())? {
        Value::Int(size) => Ok(size),
        Value::Float(size) if size.is_finite() => Ok(size as i64),
        other => Err(err!("expected a number from `{text}`, found {other:?}").kind(Kind::Config)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::node::Origin;

    /// Values of `_get_fake_spatial_shape` in MONAI 1.6.1.
    #[test]
    fn sizes_follow_p_n_and_any() {
        let format = |sizes: Value| TensorFormat {
            channels: 1,
            dtype: Type::F32,
            id: "image".into(),
            sizes: Node::from_value(&sizes, &Origin::command_line())
                .children()
                .into_iter()
                .map(|(_, n)| n.clone())
                .collect(),
        };
        let mixed = format(Value::list(["2**p*n", "*", "16 * n", "2 ** p"].map(Value::str)));
        assert_eq!(mixed.size(5, 2, 7).unwrap(), [64, 7, 32, 32]);
        assert_eq!(mixed.size(1, 1, 1).unwrap(), [2, 1, 16, 2]);
        assert_eq!(format(Value::list([96, 96].map(Value::Int))).size(1, 1, 1).unwrap(), [96, 96]);
        for (text, message) in [
            ("2**m", "only the variables p and n are supported, found `m`"),
            ("p - 1", "expected a size of at least 1 for p=1 and n=1, found 'p - 1'"),
            ("open('x')", "only the variables p and n are supported, found `open`"),
            ("9**9**9**9", "overflow"),
            ("2**", ""),
            ("1))(", ""),
            ("[n][5]", ""),
        ] {
            let error = format(Value::list([Value::str(text)])).size(1, 1, 1).unwrap_err();
            assert!(error.message().contains(message), "{text}: {error}");
        }
    }
}
