//! Python literals as in `ast.literal_eval`, for options of `logging.conf` and values on the command line.

use super::ast::{Expr, Item, Node, Pair, Step};
use super::lex::Lexer;
use super::{Content, parse_tokens};
use crate::component::{Dict, Key, Value};
use crate::err;
use crate::error::{Error, Kind, Result};

/// Meaning of bare names in a literal.
#[derive(Clone, Copy)]
pub enum Names<'a> {
    /// Dotted names with values; all other names are errors.
    Known(&'a [(&'a str, Value)]),
    /// A name without dots is a string, as in python-fire.
    Strings,
}

/// Parse a literal: constants, signed numbers, names, and tuples, lists, sets and dicts of them. Nothing is evaluated.
///
/// # Errors
/// An error of kind Config, with the location in the text, for any other expression.
pub fn literal(text: &str, names: Names) -> Result<Value> {
    let parsed = parse_tokens(Lexer { plain: true, ..Lexer::new(text) })?;
    let reader = Reader { text, names };
    match &parsed.content {
        Content::Expression(node) => reader.value(node),
        Content::Imports(_) => Err(err!("expected a literal, found an import").kind(Kind::Config)),
    }
}

struct Reader<'a> {
    text: &'a str,
    names: Names<'a>,
}

impl Reader<'_> {
    fn refuse(&self, node: &Node) -> Error {
        err!("expected a literal, found an expression").kind(Kind::Config).place(self.text, node.at)
    }
    // The parser limits the depth of recursion.
    fn value(&self, node: &Node) -> Result<Value> {
        Ok(match &node.expr {
            Expr::Constant(value) => value.clone(),
            Expr::Tuple(items) => Value::tuple(self.items(items)?),
            Expr::List(items) => Value::list(self.items(items)?),
            Expr::Set(items) => Value::Set(
                self.items(items)?.iter().map(|item| self.key(item, node)).collect::<Result<Vec<_>>>()?.into(),
            ),
            Expr::Dict(pairs) => {
                Value::Dict(Dict::new(pairs.iter().map(|pair| self.pair(pair)).collect::<Result<Vec<_>>>()?))
            }
            Expr::Unary(sign @ ("-" | "+"), inner) => match (&inner.expr, *sign) {
                (Expr::Constant(Value::Int(i)), "-") => Value::Int(i.checked_neg().ok_or_else(|| self.refuse(node))?),
                (Expr::Constant(Value::Float(x)), "-") => Value::Float(-x),
                (Expr::Constant(value @ (Value::Int(_) | Value::Float(_))), _) => value.clone(),
                _ => return Err(self.refuse(node)),
            },
            Expr::Name(name) if matches!(self.names, Names::Strings) => Value::Str(name.clone()),
            Expr::Postfix(..) | Expr::Name(_) => {
                let name = dotted(node).ok_or_else(|| self.refuse(node))?;
                let Names::Known(known) = self.names else { return Err(self.refuse(node)) };
                known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).ok_or_else(|| {
                    let error =
                        err!("the name `{name}` cannot be used here").kind(Kind::Config).place(self.text, node.at);
                    error.hint(format!(
                        "only literals{}",
                        known.iter().map(|(name, _)| format!(", {name}")).collect::<String>()
                    ))
                })?
            }
            _ => return Err(self.refuse(node)),
        })
    }
    fn items(&self, items: &[Item]) -> Result<Vec<Value>> {
        items
            .iter()
            .map(|item| if item.starred { Err(self.refuse(&item.value)) } else { self.value(&item.value) })
            .collect()
    }
    fn pair(&self, pair: &Pair) -> Result<(Key, Value)> {
        match pair {
            Pair::KeyValue(key, value) => Ok((self.key(&self.value(key)?, key)?, self.value(value)?)),
            Pair::Unpack(node) => Err(self.refuse(node)),
        }
    }
    fn key(&self, value: &Value, node: &Node) -> Result<Key> {
        Key::new(value).ok_or_else(|| {
            err!("unhashable type: '{}'", value.type_name()).kind(Kind::Config).place(self.text, node.at)
        })
    }
}

/// Parse a dotted name `a.b.c`.
fn dotted(node: &Node) -> Option<String> {
    let (base, trailers) = match &node.expr {
        Expr::Name(name) => return Some(name.to_string()),
        Expr::Postfix(base, trailers) => (base, trailers),
        _ => return None,
    };
    let mut name = dotted(base)?;
    for trailer in trailers {
        let Step::Attribute(part) = &trailer.step else { return None };
        name.push('.');
        name.push_str(part);
    }
    Some(name)
}
