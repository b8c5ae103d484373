//! The constructs with names of their own: lambdas and comprehensions.

use super::ast::{Clause, Comprehension, Element, Expr, Kind, Lambda, Node, Parameter, Parameters, Target};
use super::parse::Parser;
use crate::error::Result;
use std::sync::Arc;

impl Parser<'_> {
    pub(super) fn lambda(&mut self) -> Result<Node> {
        let at = self.at();
        self.advance();
        let parameters = self.parameters()?;
        self.expect(":", "a lambda's parameters")?;
        let body = self.expression()?;
        Ok(Node { at, expr: Expr::Lambda(Arc::new(Lambda { parameters, body })) })
    }
    fn parameters(&mut self) -> Result<Parameters> {
        let mut found = Parameters::default();
        let mut starred = false;
        while self.op() != ":" {
            let at = self.at();
            if self.eat("**") {
                found.keywords = Some(self.name("a name after `**`")?);
                self.eat(",");
                if self.op() != ":" {
                    return Err(self.unexpected("`:` after `**` parameters"));
                }
                break;
            } else if self.eat("*") {
                if std::mem::replace(&mut starred, true) {
                    return Err(self.error(at, "a lambda has one `*` only"));
                }
                if !matches!(self.op(), "," | ":") {
                    found.rest = Some(self.name("a name after `*`")?);
                }
            } else if self.op() == "/" && !starred && !found.positional.is_empty() && found.positional_only == 0 {
                self.advance();
                found.positional_only = found.positional.len();
            } else {
                let name = self.name("a parameter's name")?;
                if found.names().any(|other| *other == name) {
                    return Err(self.error(at, format!("parameter `{name}` stands twice")));
                }
                let default = if self.eat("=") { Some(self.expression()?) } else { None };
                if default.is_none() && !starred && found.positional.last().is_some_and(|last| last.default.is_some()) {
                    return Err(
                        self.error(at, format!("parameter `{name}` without a default follows one with a default"))
                    );
                }
                let list = if starred { &mut found.keyword_only } else { &mut found.positional };
                list.push(Parameter { name, default });
            }
            if !self.eat(",") && self.op() != ":" {
                return Err(self.unexpected("`,` or `:` in a lambda's parameters"));
            }
        }
        if starred && found.rest.is_none() && found.keyword_only.is_empty() {
            return Err(self.error(self.at(), "a bare `*` needs a named parameter after it"));
        }
        Ok(found)
    }

    pub(super) fn generator(&mut self, at: usize, element: Node) -> Result<Node> {
        self.comprehension(at, Kind::Generator, Element::One(element))
    }
    pub(super) fn list_comprehension(&mut self, at: usize, element: Node) -> Result<Node> {
        self.comprehension(at, Kind::List, Element::One(element))
    }
    pub(super) fn set_comprehension(&mut self, at: usize, element: Node) -> Result<Node> {
        self.comprehension(at, Kind::Set, Element::One(element))
    }
    pub(super) fn dict_comprehension(&mut self, at: usize, key: Node, value: Node) -> Result<Node> {
        self.comprehension(at, Kind::Dict, Element::KeyValue(key, value))
    }
    fn comprehension(&mut self, at: usize, kind: Kind, element: Element) -> Result<Node> {
        let mut clauses = Vec::new();
        loop {
            let at = self.at();
            if self.word() == "async" {
                return Err(self.unexpected("`for`"));
            }
            if !self.eat_word("for") {
                break;
            }
            let target = self.targets(0)?;
            if !self.eat_word("in") {
                return Err(self.unexpected("`in` after a comprehension's target"));
            }
            let iterable = self.disjunction()?;
            let mut conditions = Vec::new();
            while self.eat_word("if") {
                conditions.push(self.disjunction()?);
            }
            clauses.push(Clause { at, target, iterable, conditions });
        }
        Ok(Node { at, expr: Expr::Comprehension(Arc::new(Comprehension { kind, element, clauses })) })
    }
    /// `a`, `a, b`, `a, *b`, `(a, b), c`
    fn targets(&mut self, depth: usize) -> Result<Target> {
        if depth > 20 {
            return Err(self.error(self.at(), "the expression is nested too deeply"));
        }
        let mut targets = Vec::new();
        let mut starred = None;
        let mut comma = false;
        loop {
            let at = self.at();
            if self.eat("*") && starred.replace(targets.len()).is_some() {
                return Err(self.error(at, "a target has one `*` only"));
            }
            let close = match self.op() {
                "(" => ")",
                "[" => "]",
                _ => "",
            };
            if close.is_empty() {
                let name = self.name("a name to bind")?;
                if matches!(self.op(), "." | "[" | "(") {
                    return Err(self.error(at, "a comprehension binds names only, no attributes or items"));
                }
                targets.push(Target::Name(name));
            } else {
                self.advance();
                let inner = if self.op() == close { Target::Several(vec![], None) } else { self.targets(depth + 1)? };
                // `[a]` unpacks one, `(a)` is just a.
                targets.push(if close == "]" && matches!(inner, Target::Name(_)) {
                    Target::Several(vec![inner], None)
                } else {
                    inner
                });
                self.expect(close, "the names to bind")?;
            }
            if !self.eat(",") {
                break;
            }
            comma = true;
            if self.word() == "in" || matches!(self.op(), ")" | "]") {
                break;
            }
        }
        match (targets.pop(), comma, starred) {
            (Some(only), false, None) if targets.is_empty() => Ok(only),
            (last, ..) => {
                targets.extend(last);
                Ok(Target::Several(targets, starred))
            }
        }
    }
}
