//! Interpreter of `$` expressions: Python expressions and imports.
//!
//! MONAI passes the text after `$` to Python's `eval` (`monai.bundle.config_item.ConfigExpression`, 1.6.1). Here
//! [`parse`] creates a syntax tree and [`eval`] evaluates it, with the names in a [`Table`] only, and within the limits
//! of a [`BuildContext`].
//!
//! Deliberate differences: integers have 64 bits (overflow is an error), sets cannot be modified in place, and complex
//! numbers, bytes and the matrix product `a @ b` are not supported. Floats have no identity: a NaN `is` never itself.
//! Strings in f-strings may contain the outer quotes, as in Python 3.12.

mod ast;
mod comprehension;
mod eval;
mod lambda;
mod lex;
mod literal;
mod parse;
mod parse_scopes;
mod scope;
mod text;
mod uses;
pub mod values;

use crate::component::{BuildContext, Table, Value};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use literal::{Names, literal};
pub use uses::Use;

/// Text and syntax tree of an expression.
#[derive(Debug)]
pub struct Parsed {
    text: String,
    references: Vec<Reference>,
    content: Content,
    /// File and id of the config item.
    location: Option<(String, String)>,
}

/// A reference `@id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Normalized id.
    pub id: String,
    /// Byte offset of the `@` in the text.
    pub offset: usize,
}

/// One name of an import statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Name that is bound.
    pub name: String,
    /// Dotted path of the module or object.
    pub path: String,
}

#[derive(Debug)]
enum Content {
    Expression(ast::Node),
    Imports(Vec<Import>),
}

/// Parse the text after `$`. `#` is read as `::` everywhere, as in MONAI.
///
/// # Errors
/// A syntax error of kind Config, with the location in the text.
pub fn parse(text: &str) -> Result<Parsed> {
    parse_tokens(lex::Lexer::new(text))
}

fn parse_tokens(mut lexer: lex::Lexer) -> Result<Parsed> {
    let text = lexer.text;
    let tokens = lexer.tokens(lex::Until::End)?;
    let references = std::mem::take(&mut lexer.references);
    let content = parse::Parser::new(text, &tokens).content()?;
    Ok(Parsed { text: text.to_owned(), references, content, location: None })
}

impl Parsed {
    /// Sets the config item that contains the expression, for errors.
    #[must_use]
    pub fn located(self, file: String, id: &str) -> Parsed {
        Parsed { location: Some((file, id.to_owned())), ..self }
    }
    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Adds the location to an error at an offset of the text.
    pub fn place(&self, error: Error, offset: usize) -> Error {
        let error = error.place(&self.text, offset);
        match &self.location {
            Some((file, id)) => error.at(Some(file), id),
            None => error,
        }
    }
    /// All references, in the order of the text.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }
    /// For a comprehension, the reference that it iterates over first: `datalist` in `[x for x in @datalist]`.
    pub(super) fn iterated_reference(&self) -> Option<&str> {
        let Content::Expression(ast::Node { expr: ast::Expr::Comprehension(comprehension), .. }) = &self.content else {
            return None;
        };
        match &comprehension.clauses.first()?.iterable.expr {
            ast::Expr::Reference(id) => Some(id),
            _ => None,
        }
    }
    /// The imports, if the text is an import statement.
    pub fn imports(&self) -> Option<&[Import]> {
        match &self.content {
            Content::Imports(imports) => Some(imports),
            Content::Expression(_) => None,
        }
    }
    /// All dotted names that are read, except for local ones, which can be checked without evaluation. The first part
    /// is as written: names bound by imports must be replaced by their paths.
    pub fn uses(&self) -> Vec<Use> {
        let mut collector = uses::Collector::default();
        if let Content::Expression(node) = &self.content {
            collector.node(node);
        }
        collector.uses
    }
}

/// Environment of an expression.
pub struct Env {
    /// Values of the references, by [`Reference::id`].
    pub references: HashMap<String, Value>,
    /// Dotted paths of names bound by imports, such as numpy for np.
    pub imports: Arc<BTreeMap<String, String>>,
    /// Functions, components and constants that can be used.
    pub table: &'static Table,
}

/// Evaluate an expression; an import evaluates to the first imported object.
///
/// Names are looked up in local names, imports, the modules monai, torch, np and numpy, and built-ins, in this order.
/// Errors contain the location in the text.
pub fn eval(parsed: &Arc<Parsed>, env: &Arc<Env>, call: &mut BuildContext) -> Result<Value> {
    match &parsed.content {
        Content::Expression(node) => {
            let scope = scope::Scope::new(scope::Owner::Function, None);
            eval::Frame { parsed: parsed.clone(), env: env.clone(), scope }.eval(node, call)
        }
        Content::Imports(imports) => {
            let path = imports.first().map_or("", |import| &import.path);
            Ok(env.table.lookup(path).unwrap_or_else(|| Value::Module(path.into())))
        }
    }
}
