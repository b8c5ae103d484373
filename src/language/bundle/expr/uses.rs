//! Names that an expression reads, determined without evaluation for `verify`.

use super::ast::{Argument, Comprehension, Element, Expr, Lambda, Node, Pair, Piece, Step, Trailer};
use std::sync::Arc;

/// A global name that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Dotted name as written: `os.path.join`.
    pub path: String,
    /// Byte offset in the text.
    pub offset: usize,
    /// Names of the named arguments, if it is called.
    pub call: Option<Vec<String>>,
}

#[derive(Default)]
pub struct Collector {
    pub uses: Vec<Use>,
    locals: Vec<Arc<str>>,
    /// Names bound by `:=`, which stay bound to the end of the text.
    bound: Vec<Arc<str>>,
}

impl Collector {
    fn read(&mut self, name: &str, rest: &[Trailer], offset: usize) {
        if self.locals.iter().chain(&self.bound).any(|local| **local == *name) {
            return;
        }
        let mut path = name.to_owned();
        let mut call = None;
        for trailer in rest {
            match &trailer.step {
                Step::Attribute(name) => path = path + "." + name,
                Step::Call(arguments) => {
                    let name = |argument: &Argument| match argument {
                        Argument::Named(name, _) => Some(name.to_string()),
                        _ => None,
                    };
                    call = Some(arguments.iter().filter_map(name).collect());
                    break;
                }
                Step::Index(_) => break,
            }
        }
        self.uses.push(Use { path, offset, call });
    }

    pub fn node(&mut self, node: &Node) {
        match &node.expr {
            Expr::Constant(_) | Expr::Reference(_) => {}
            Expr::Name(name) => self.read(name, &[], node.at),
            Expr::FString(pieces) => self.pieces(pieces),
            Expr::Tuple(items) | Expr::List(items) | Expr::Set(items) => {
                items.iter().for_each(|item| self.node(&item.value))
            }
            Expr::Dict(pairs) => pairs.iter().for_each(|pair| match pair {
                Pair::KeyValue(key, value) => {
                    self.node(key);
                    self.node(value);
                }
                Pair::Unpack(value) => self.node(value),
            }),
            Expr::Chain(first, rest) | Expr::Compare(first, rest) => {
                self.node(first);
                rest.iter().for_each(|(_, node)| self.node(node));
            }
            Expr::Unary(_, inner) | Expr::Not(inner) => self.node(inner),
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| self.node(part)),
            Expr::Conditional(parts) => parts.iter().for_each(|part| self.node(part)),
            Expr::Postfix(base, trailers) => {
                match &base.expr {
                    Expr::Name(name) => self.read(name, trailers, base.at),
                    _ => self.node(base),
                }
                for trailer in trailers {
                    match &trailer.step {
                        Step::Attribute(_) => {}
                        Step::Index(index) => self.node(index),
                        Step::Call(arguments) => arguments.iter().for_each(|argument| match argument {
                            Argument::Positional(value)
                            | Argument::Starred(value)
                            | Argument::Named(_, value)
                            | Argument::Unpack(value) => self.node(value),
                        }),
                    }
                }
            }
            Expr::Lambda(lambda) => self.lambda(lambda),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Walrus(name, value) => {
                self.node(value);
                self.bound.push(name.clone());
            }
            Expr::Slice(parts) => parts.iter().flatten().for_each(|part| self.node(part)),
        }
    }
    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            if let Piece::Value { value, spec, .. } = piece {
                self.node(value);
                self.pieces(spec);
            }
        }
    }
    fn lambda(&mut self, lambda: &Lambda) {
        lambda.parameters.defaults().for_each(|default| self.node(default));
        let outer = self.locals.len();
        self.locals.extend(lambda.parameters.names().cloned());
        self.node(&lambda.body);
        self.locals.truncate(outer);
    }
    fn comprehension(&mut self, comprehension: &Comprehension) {
        let outer = self.locals.len();
        for clause in &comprehension.clauses {
            self.node(&clause.iterable);
            let mut names = Vec::new();
            clause.target.names(&mut names);
            self.locals.extend(names.into_iter().cloned());
            clause.conditions.iter().for_each(|condition| self.node(condition));
        }
        match &comprehension.element {
            Element::One(value) => self.node(value),
            Element::KeyValue(key, value) => {
                self.node(key);
                self.node(value);
            }
        }
        self.locals.truncate(outer);
    }
}
