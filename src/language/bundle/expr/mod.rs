//! The `$` expression language: Python's expressions and imports, read and evaluated by this program.
//!
//! MONAI hands the text after `$` to Python's `eval` (`monai.bundle.config_item.ConfigExpression`, 1.6.1). Here [`parse`]
//! makes a tree of it and [`eval`] computes its value from the names in a [`Table`], so that nothing but those can be
//! reached, within the limits of a [`BuildContext`].
//!
//! Deliberate differences: integers have 64 bits (overflow is an error), sets cannot be changed in place, there are no
//! complex numbers and no bytes; floats have no identity (a NaN is never `is` itself). `a @ b` is the matrix product where a space follows `@` (MONAI takes it for a reference).
//! Every name of an `import a, b` is bound (MONAI binds the first). Strings in f-strings may use the outer quotes, as
//! since Python 3.12.

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
use crate::error::Result;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use literal::{Names, literal};
pub use uses::{ArgNames, Use};

/// An expression's text and what it means.
#[derive(Debug)]
pub struct Parsed {
    text: String,
    references: Vec<Reference>,
    content: Content,
}

/// `@id`: the id as written, with `#` seen as `::`, and the offset of its `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub id: String,
    pub offset: usize,
}

/// The name that an import binds, and the dotted path that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub name: String,
    pub path: String,
}

#[derive(Debug)]
enum Content {
    Expression(ast::Node),
    Imports(Vec<Import>),
}

/// Parse the text that follows `$`. `#` reads as `::` everywhere, as in MONAI.
///
/// Errors are of kind Config, with the place in the text.
pub fn parse(text: &str) -> Result<Parsed> {
    parse_tokens(lex::Lexer::new(text))
}

fn parse_tokens(mut lexer: lex::Lexer) -> Result<Parsed> {
    let text = lexer.text;
    let tokens = lexer.all()?;
    let references = std::mem::take(&mut lexer.references);
    let content = parse::Parser::new(text, &tokens).content()?;
    Ok(Parsed { text: text.to_owned(), references, content })
}

impl Parsed {
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Every `@id`, in the order of the text.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }
    /// The reference whose items it goes through first, if it is a comprehension: `datalist` of `[x for x in @datalist]`.
    pub fn goes_through(&self) -> Option<&str> {
        let Content::Expression(ast::Node { expr: ast::Expr::Comprehension(comprehension), .. }) = &self.content else {
            return None;
        };
        match &comprehension.clauses.first()?.iterable.expr {
            ast::Expr::Reference(id) => Some(id),
            _ => None,
        }
    }
    /// What the text imports, if it is an import.
    pub fn imports(&self) -> Option<&[Import]> {
        match &self.content {
            Content::Imports(imports) => Some(imports),
            Content::Expression(_) => None,
        }
    }
    /// Every dotted name that is read and is no local: what can be checked without evaluating. The first part is as
    /// written, so an import's name is to be replaced by its path.
    pub fn uses(&self) -> Vec<Use> {
        let mut collector = uses::Collector::default();
        if let Content::Expression(node) = &self.content {
            collector.node(node);
        }
        collector.uses
    }
}

/// What an expression can see besides its own names.
pub struct Env {
    /// Values of all references, by [`Reference::id`].
    pub references: HashMap<String, Value>,
    /// Names bound by imports to dotted paths: np → numpy.
    pub imports: Arc<BTreeMap<String, String>>,
    pub table: &'static Table,
}

/// The value of an expression; of an import, the first thing that it imports.
///
/// Names are looked up among locals, imports, the modules monai, torch, np and numpy, and the built-ins, in this order.
/// Errors carry the place in the text.
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
