//! Parser of constructs with their own scope: lambdas and comprehensions.

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
                found.rest = Some(self.name("a name after `*`")?);
            } else if found.rest.is_some() {
                return Err(self.error(at, "parameters after `*` are not supported"));
            } else {
                let name = self.name("a parameter's name")?;
                if found.names().any(|other| *other == name) {
                    return Err(self.error(at, format!("duplicate parameter `{name}`")));
                }
                let default = if self.eat("=") { Some(self.expression()?) } else { None };
                if default.is_none() && found.positional.last().is_some_and(|last| last.default.is_some()) {
                    let message = format!("parameter `{name}` without a default follows one with a default");
                    return Err(self.error(at, message));
                }
                found.positional.push(Parameter { name, default });
            }
            if !self.eat(",") && self.op() != ":" {
                return Err(self.unexpected("`,` or `:` in a lambda's parameters"));
            }
        }
        Ok(found)
    }

    pub(super) fn comprehension(&mut self, at: usize, kind: Kind, element: Element) -> Result<Node> {
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
    /// `a`, `a, b`, `(a, b), c`
    fn targets(&mut self, depth: usize) -> Result<Target> {
        if depth > 20 {
            return Err(self.error(self.at(), "the expression is nested too deeply"));
        }
        let mut targets = Vec::new();
        loop {
            let at = self.at();
            if self.eat("(") {
                targets.push(self.targets(depth + 1)?);
                self.expect(")", "the names to bind")?;
            } else {
                targets.push(Target::Name(self.name("a name to bind")?));
                if matches!(self.op(), "." | "[" | "(") {
                    return Err(self.error(at, "a comprehension can bind names only, not attributes or items"));
                }
            }
            let comma = self.eat(",");
            if !comma && targets.len() == 1 {
                return Ok(targets.remove(0));
            }
            if !comma || self.word() == "in" || self.op() == ")" {
                return Ok(Target::Several(targets));
            }
        }
    }
}
