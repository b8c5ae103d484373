//! Evaluation of expressions.

use super::ast::{Argument, Expr, Item, Node, Pair, Piece, Step, Trailer};
use super::lambda::Closure;
use super::scope::Scope;
use super::values::iter::{Cursor, collect, key};
use super::values::{arith, attributes, compare, format, index, sets};
use super::{Env, Parsed};
use crate::bundle::names;
use crate::component::{Args, BuildContext, Dict, Entry, FromValue, Key, Value};
use crate::error::{Error, Kind, Result};
use crate::{bail, err};
use std::sync::Arc;

/// Context of an evaluation. Cheap to clone; closures and generators keep a copy.
#[derive(Clone)]
pub struct Frame {
    pub parsed: Arc<Parsed>,
    pub env: Arc<Env>,
    pub scope: Arc<Scope>,
}

impl Frame {
    pub fn eval(&self, node: &Node, call: &mut BuildContext) -> Result<Value> {
        call.charge(1)?;
        let value = match &node.expr {
            Expr::Constant(value) => return Ok(value.clone()),
            Expr::Name(name) => self.name(name),
            Expr::Reference(id) => self
                .env
                .references
                .get(id)
                .cloned()
                .ok_or_else(|| err!("the reference `@{id}` has no value here").kind(Kind::Config)),
            _ => call.nested(|call| self.compound(node, call)),
        };
        value.map_err(|error| self.place(error, node.at))
    }

    fn place(&self, error: Error, at: usize) -> Error {
        self.parsed.place(error, at)
    }

    fn name(&self, name: &str) -> Result<Value> {
        if let Some(value) = self.scope.get(name) {
            return Ok(value);
        }
        let table = self.env.table;
        if let Some(path) = self.env.imports.get(name) {
            // An unknown module fails where it is used, as MONAI's optional imports do.
            return Ok(table.lookup(path).unwrap_or_else(|| Value::Module(path.as_str().into())));
        }
        if let Some((_, path)) = names::SCOPE.iter().find(|(bound, _)| *bound == name) {
            return Ok(table.lookup(path).unwrap_or_else(|| Value::Module((*path).into())));
        }
        match table.entry(name) {
            Some(entry @ (Entry::Function(_) | Entry::Constant(_))) => Ok(entry.value()),
            _ => {
                let locals = self.scope.visible();
                let known = locals.iter().map(|name| &**name).chain(self.env.imports.keys().map(String::as_str));
                Err(names::undefined(table, known, name))
            }
        }
    }

    // One function per construct keeps the stack frame of a nesting level small.
    fn compound(&self, node: &Node, call: &mut BuildContext) -> Result<Value> {
        match &node.expr {
            Expr::Constant(_) | Expr::Name(_) | Expr::Reference(_) => self.eval(node, call),
            Expr::FString(pieces) => self.pieces(pieces, call).map(Value::from),
            Expr::Tuple(items) => Ok(Value::tuple(self.items(items, call)?)),
            Expr::List(items) => Ok(Value::list(self.items(items, call)?)),
            Expr::Set(items) => self.set(items, call),
            Expr::Dict(pairs) => self.dict(pairs, call),
            Expr::Chain(first, rest) => self.chain(first, rest, call),
            Expr::Unary(operator, inner) => arith::unary(operator, &self.eval(inner, call)?, call),
            Expr::Not(inner) => Ok(Value::Bool(!self.eval(inner, call)?.truthy())),
            Expr::Compare(first, rest) => self.compare(first, rest, call),
            Expr::And(parts) => self.until(parts, false, call),
            Expr::Or(parts) => self.until(parts, true, call),
            Expr::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.eval(condition, call)?.truthy() { then } else { otherwise };
                self.eval(chosen, call)
            }
            Expr::Postfix(base, trailers) => self.postfix(base, trailers, call),
            Expr::Lambda(lambda) => Closure::value(self, lambda, call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, call),
            Expr::Walrus(name, value) => {
                let value = self.eval(value, call)?;
                self.scope.walrus(name, value.clone());
                Ok(value)
            }
            Expr::Slice(parts) => self.slice(parts, call),
        }
    }

    /// Evaluate parts up to the first whose truth value is `wanted`; returns its value, or that of the last part.
    fn until(&self, parts: &[Node], wanted: bool, call: &mut BuildContext) -> Result<Value> {
        let mut value = Value::None;
        for part in parts {
            value = self.eval(part, call)?;
            if value.truthy() == wanted {
                break;
            }
        }
        Ok(value)
    }
    fn chain(&self, first: &Node, rest: &[(&'static str, Node)], call: &mut BuildContext) -> Result<Value> {
        let mut value = self.eval(first, call)?;
        for (operator, node) in rest {
            let right = self.eval(node, call)?;
            value = arith::binary(operator, &value, &right, call)?;
        }
        Ok(value)
    }
    /// Evaluate `a < b < c`: each operand once, up to the first comparison that is false.
    fn compare(&self, first: &Node, rest: &[(&'static str, Node)], call: &mut BuildContext) -> Result<Value> {
        let mut left = self.eval(first, call)?;
        let mut value = Value::None;
        for (at, (operator, node)) in rest.iter().enumerate() {
            let right = self.eval(node, call)?;
            value = compare::compare(operator, &left, &right, call)?;
            if at + 1 < rest.len() && !value.truthy() {
                break;
            }
            left = right;
        }
        Ok(value)
    }
    fn items(&self, items: &[Item], call: &mut BuildContext) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let value = self.eval(&item.value, call)?;
            if item.starred {
                values.extend(collect(&value, call).map_err(|error| self.place(error, item.value.at))?);
            } else {
                values.push(value);
            }
        }
        Ok(values)
    }
    fn set(&self, items: &[Item], call: &mut BuildContext) -> Result<Value> {
        let keys: Vec<Key> = self.items(items, call)?.iter().map(key).collect::<Result<_>>()?;
        Ok(sets::make(keys))
    }
    fn dict(&self, pairs: &[Pair], call: &mut BuildContext) -> Result<Value> {
        let mut found = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match pair {
                Pair::KeyValue(name, value) => {
                    let name = key(&self.eval(name, call)?).map_err(|error| self.place(error, name.at))?;
                    found.push((name, self.eval(value, call)?));
                }
                Pair::Unpack(node) => found.extend(self.mapping(node, call)?),
            }
        }
        Ok(Value::Dict(Dict::new(found)))
    }
    /// Entries that `**node` unpacks.
    fn mapping(&self, node: &Node, call: &mut BuildContext) -> Result<Vec<(Key, Value)>> {
        let value = self.eval(node, call)?;
        let is_mapping = match &value {
            Value::Dict(_) => true,
            Value::Object(object) => object.attr_names().contains(&"keys"),
            _ => false,
        };
        if !is_mapping {
            return Err(self.place(err!("`**`: expected a dict, found {}", value.type_name()), node.at));
        }
        super::values::pairs(&value, call)
    }
    fn slice(&self, parts: &[Option<Node>; 3], call: &mut BuildContext) -> Result<Value> {
        let mut found = [None; 3];
        for (slot, part) in found.iter_mut().zip(parts) {
            let Some(node) = part else { continue };
            let value = self.eval(node, call)?;
            if value.is_none() {
                continue;
            }
            let whole = i64::from_value(&value)
                .ok_or_else(|| err!("slice indices must be integers or None, not {}", value.type_name()));
            *slot = Some(whole.map_err(|error| self.place(error, node.at))?);
        }
        Ok(Value::Slice(Arc::new(found)))
    }
    fn pieces(&self, pieces: &[Piece], call: &mut BuildContext) -> Result<String> {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { value: node, conversion, spec } => {
                    let mut value = self.eval(node, call)?;
                    if let Some(conversion) = conversion {
                        value = Value::from(format::converted(&value, *conversion, call)?);
                    }
                    let spec = call.nested(|call| self.pieces(spec, call))?;
                    out.push_str(&format::format(&value, &spec, call).map_err(|error| self.place(error, node.at))?);
                }
            }
            call.charge(out.len() / 64 + 1)?;
        }
        call.charge(out.len())?;
        Ok(out)
    }

    /// `base.attribute(arguments)[index]…`
    fn postfix(&self, base: &Node, trailers: &[Trailer], call: &mut BuildContext) -> Result<Value> {
        let mut value = self.eval(base, call)?;
        let mut trailers = trailers.iter().peekable();
        while let Some(trailer) = trailers.next() {
            call.charge(1)?;
            let place = |error| self.place(error, trailer.at);
            value = match &trailer.step {
                Step::Attribute(name) => match trailers.peek().map(|next| &next.step) {
                    Some(Step::Call(arguments))
                        if !matches!(value, Value::Module(_) | Value::Function(_) | Value::Component(_)) =>
                    {
                        trailers.next();
                        let args = self.arguments(arguments, call)?;
                        attributes::call_method(&value, name, args, Some(self.env.table), call).map_err(place)?
                    }
                    _ => attributes::attribute(&value, name, Some(self.env.table)).map_err(place)?,
                },
                Step::Call(arguments) => {
                    let args = self.arguments(arguments, call)?;
                    // Errors point to the callee, not to the parenthesis.
                    self.call(&value, args, call).map_err(|error| self.place(error, base.at))?
                }
                Step::Index(node) => {
                    let at = self.eval(node, call)?;
                    index::index(&value, &at, call).map_err(place)?
                }
            };
        }
        Ok(value)
    }
    fn call(&self, function: &Value, args: Args, call: &mut BuildContext) -> Result<Value> {
        match function {
            Value::Module(path) if !self.env.table.is_module(path) => Err(names::unreachable(self.env.table, path)),
            _ => function.call(args, call),
        }
    }
    fn arguments(&self, arguments: &[Argument], call: &mut BuildContext) -> Result<Args> {
        let mut args = Args::default();
        for argument in arguments {
            match argument {
                Argument::Positional(node) => args.positional.push(self.eval(node, call)?),
                Argument::Starred(node) => {
                    let value = self.eval(node, call)?;
                    let mut cursor = Cursor::new(&value).map_err(|error| self.place(error, node.at))?;
                    while let Some(item) = cursor.next(call)? {
                        args.positional.push(item);
                    }
                }
                Argument::Named(name, node) => {
                    let value = self.eval(node, call)?;
                    add_named(&mut args, name.clone(), value)?;
                }
                Argument::Unpack(node) => {
                    for (name, value) in self.mapping(node, call)? {
                        let Key::Str(name) = name else {
                            bail!("argument names must be strings, found {:?}", name.to_value())
                        };
                        add_named(&mut args, name, value)?;
                    }
                }
            }
        }
        Ok(args)
    }
}

fn add_named(args: &mut Args, name: Arc<str>, value: Value) -> Result<()> {
    if args.named.iter().any(|(known, _)| *known == name) {
        bail!("argument `{name}` is given twice");
    }
    args.named.push((name, value));
    Ok(())
}
