//! Precedence climbing parser. Unsupported Python syntax is reported as such.

use super::ast::{Argument, Element, Expr, Item, Kind, Node, Pair, Piece, Step, Trailer};
use super::lex::{Part, Tok, Token};
use super::{Content, Import};
use crate::component::Value;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Maximum nesting of brackets (which count twice, with the expression inside), lambdas, conditionals and unary operators.
const MAX_DEPTH: usize = 170;
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];
/// Binary operators by precedence, lowest first.
const LEVELS: [&[&str]; 6] = [&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "/", "//", "%"]];

pub struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
    pub(super) depth: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, tokens: &'a [Token]) -> Self {
        Parser { text, tokens, next: 0, depth: 0 }
    }

    fn token(&self) -> &'a Token {
        // Every sequence of tokens ends with `End`, which is never consumed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }
    pub(super) fn at(&self) -> usize {
        self.token().at
    }
    pub(super) fn advance(&mut self) -> &'a Token {
        let token = self.token();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }
    fn op_ahead(&self, ahead: usize) -> &'static str {
        match self.tokens.get(self.next + ahead).map(|token| &token.tok) {
            Some(Tok::Op(op)) => op,
            _ => "",
        }
    }
    pub(super) fn op(&self) -> &'static str {
        self.op_ahead(0)
    }
    pub(super) fn word(&self) -> &'a str {
        match &self.token().tok {
            Tok::Name(name) => name,
            _ => "",
        }
    }
    pub(super) fn eat(&mut self, op: &str) -> bool {
        let found = self.op() == op;
        if found {
            self.advance();
        }
        found
    }
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.word() == word;
        if found {
            self.advance();
        }
        found
    }
    pub(super) fn expect(&mut self, op: &str, after: &str) -> Result<()> {
        if self.eat(op) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{op}` after {after}")))
    }
    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::config(message).place(self.text, at)
    }
    /// Error for the current token, with a hint for unsupported syntax.
    pub(super) fn unexpected(&self, wanted: &str) -> Error {
        let found = match &self.token().tok {
            Tok::Name(name) if is_keyword(name) => format!("the keyword `{name}`"),
            Tok::Name(name) => format!("`{name}`"),
            Tok::Int(_) | Tok::Float(_) => "a number".into(),
            Tok::Str(_) | Tok::FString(_) => "a string".into(),
            Tok::Reference(id) => format!("`@{id}`"),
            Tok::Op(op) => format!("`{op}`"),
            Tok::NewLine => "a line break".into(),
            Tok::End => "the end".into(),
        };
        let error = self.error(self.at(), format!("expected {wanted}, found {found}"));
        match &self.token().tok {
            Tok::Op("=") => {
                error.hint("assignments are not supported; `(name := value)` binds a name within the expression")
            }
            Tok::Op(op) if op.len() > 1 && op.ends_with('=') && !matches!(*op, "==" | "!=" | "<=" | ">=" | ":=") => {
                error.hint("assignments are not supported in expressions")
            }
            Tok::Op(":=") => error.hint("put the assignment in parentheses"),
            Tok::Op("->") => error.hint("functions with annotations are not supported; use a lambda"),
            Tok::NewLine => error.hint("an expression continues on the next line only inside brackets"),
            Tok::Reference(_) | Tok::Op("@") => {
                error.hint("`@` starts a reference to an item; the matrix product is not supported")
            }
            Tok::Name(name) if is_statement(name) => {
                error.hint(format!("`{name}` is not supported: expressions cannot contain statements except imports"))
            }
            _ => error,
        }
    }
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(self.at(), "the expression is nested too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }
    /// Consume a name that is not a keyword.
    pub(super) fn name(&mut self, what: &str) -> Result<Arc<str>> {
        match &self.token().tok {
            Tok::Name(name) if !is_keyword(name) => {
                self.advance();
                Ok(name.clone())
            }
            _ => Err(self.unexpected(what)),
        }
    }

    pub fn content(&mut self) -> Result<Content> {
        self.skip_line_breaks();
        let content = match self.word() {
            "import" | "from" => Content::Imports(self.imports()?),
            _ => Content::Expression(self.expressions()?),
        };
        let end = self.next;
        self.skip_line_breaks();
        if !matches!(self.token().tok, Tok::End) {
            self.next = end;
            return Err(self.unexpected("an operator or the end"));
        }
        Ok(content)
    }
    fn skip_line_breaks(&mut self) {
        while matches!(self.token().tok, Tok::NewLine) {
            self.advance();
        }
    }

    fn dotted(&mut self) -> Result<String> {
        let mut path = self.name("a module's name")?.to_string();
        while self.eat(".") {
            path = path + "." + &self.name("a name after `.`")?;
        }
        Ok(path)
    }
    /// `import a.b as c` binds c to a.b, `import a.b` binds a to a; `from a import b as c` binds c to a.b.
    fn imports(&mut self) -> Result<Vec<Import>> {
        let mut imports = Vec::new();
        if self.eat_word("import") {
            loop {
                let path = self.dotted()?;
                imports.push(if self.eat_word("as") {
                    Import { name: self.name("a name after `as`")?.to_string(), path }
                } else {
                    let first = path.split('.').next().unwrap_or(&path).to_owned();
                    Import { name: first.clone(), path: first }
                });
                if !self.eat(",") {
                    return Ok(imports);
                }
            }
        }
        self.eat_word("from");
        if self.op() == "." || self.op() == "..." {
            return Err(self.error(self.at(), "relative imports are not supported"));
        }
        let module = self.dotted()?;
        if !self.eat_word("import") {
            return Err(self.unexpected("`import` after the module's name"));
        }
        if self.op() == "*" {
            return Err(self.error(self.at(), "`import *` is not supported").hint("import each name"));
        }
        let bracket = self.eat("(");
        loop {
            let name = self.name("a name to import")?;
            let bound = if self.eat_word("as") { self.name("a name after `as`")? } else { name.clone() };
            imports.push(Import { name: bound.to_string(), path: format!("{module}.{name}") });
            if !self.eat(",") || (bracket && self.op() == ")") {
                break;
            }
        }
        if bracket {
            self.expect(")", "the imported names")?;
        }
        Ok(imports)
    }

    /// Parse one expression, or a tuple without parentheses.
    fn expressions(&mut self) -> Result<Node> {
        let at = self.at();
        let first = self.item(false)?;
        if self.op() != "," {
            return self.single(first, at);
        }
        let mut items = vec![first];
        while self.eat(",") {
            if !self.starts_expression() {
                break;
            }
            items.push(self.item(false)?);
        }
        Ok(Node { at, expr: Expr::Tuple(items) })
    }
    fn single(&self, item: Item, at: usize) -> Result<Node> {
        match item {
            Item { starred: false, value } => Ok(value),
            Item { .. } => Err(self.error(at, "`*` is only allowed in a list, tuple, set or call")),
        }
    }
    pub(super) fn starts_expression(&self) -> bool {
        match &self.token().tok {
            Tok::End | Tok::NewLine => false,
            Tok::Op(op) => matches!(*op, "(" | "[" | "{" | "-" | "+" | "~" | "*" | "..."),
            Tok::Name(name) => !is_keyword(name) || matches!(&**name, "None" | "True" | "False" | "not" | "lambda"),
            _ => true,
        }
    }
    /// `*value`, `value`, or `name := value` where `walrus` is allowed.
    pub(super) fn item(&mut self, walrus: bool) -> Result<Item> {
        if self.eat("*") {
            return Ok(Item { starred: true, value: self.binary(0)? });
        }
        Ok(Item { starred: false, value: if walrus { self.named()? } else { self.expression()? } })
    }
    pub(super) fn named(&mut self) -> Result<Node> {
        let at = self.at();
        if self.op_ahead(1) == ":=" && !self.word().is_empty() {
            let name = self.name("a name before `:=`")?;
            self.advance();
            return Ok(Node { at, expr: Expr::Walrus(name, Box::new(self.expression()?)) });
        }
        self.expression()
    }

    pub(super) fn expression(&mut self) -> Result<Node> {
        self.deeper(|this| {
            let at = this.at();
            if this.word() == "lambda" {
                return this.lambda();
            }
            let then = this.disjunction()?;
            if !this.eat_word("if") {
                return Ok(then);
            }
            let condition = this.disjunction()?;
            if !this.eat_word("else") {
                return Err(this.unexpected("`else` after `if`"));
            }
            let otherwise = this.expression()?;
            Ok(Node { at, expr: Expr::Conditional(Box::new([condition, then, otherwise])) })
        })
    }
    pub(super) fn disjunction(&mut self) -> Result<Node> {
        self.words("or", |this| this.words("and", Self::inversion, Expr::And), Expr::Or)
    }
    fn words(
        &mut self,
        word: &str,
        part: impl Fn(&mut Self) -> Result<Node>,
        make: fn(Vec<Node>) -> Expr,
    ) -> Result<Node> {
        let at = self.at();
        let first = part(self)?;
        if self.word() != word {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat_word(word) {
            parts.push(part(self)?);
        }
        Ok(Node { at, expr: make(parts) })
    }
    fn inversion(&mut self) -> Result<Node> {
        let at = self.at();
        if self.eat_word("not") {
            let inner = self.deeper(Self::inversion)?;
            return Ok(Node { at, expr: Expr::Not(Box::new(inner)) });
        }
        let first = self.binary(0)?;
        let mut rest = Vec::new();
        while let Some(operator) = self.comparison() {
            rest.push((operator, self.binary(0)?));
        }
        Ok(if rest.is_empty() { first } else { Node { at, expr: Expr::Compare(Box::new(first), rest) } })
    }
    fn comparison(&mut self) -> Option<&'static str> {
        let operator = match (self.op(), self.word()) {
            (op @ ("<" | ">" | "==" | ">=" | "<=" | "!="), _) => op,
            (_, "in") => "in",
            (_, "is") if matches!(&self.tokens.get(self.next + 1)?.tok, Tok::Name(name) if &**name == "not") => {
                self.advance();
                "is not"
            }
            (_, "is") => "is",
            (_, "not") if matches!(&self.tokens.get(self.next + 1)?.tok, Tok::Name(name) if &**name == "in") => {
                self.advance();
                "not in"
            }
            _ => return None,
        };
        self.advance();
        Some(operator)
    }
    pub(super) fn binary(&mut self, level: usize) -> Result<Node> {
        let at = self.at();
        let mut left = self.unary()?;
        // Highest precedence first, in a single stack frame: recursion through all levels would limit the nesting.
        for (level, operators) in LEVELS.iter().enumerate().skip(level).rev() {
            let mut rest = Vec::new();
            while let Some(operator) = operators.iter().find(|operator| **operator == self.op()) {
                self.advance();
                rest.push((*operator, self.binary(level + 1)?));
            }
            if !rest.is_empty() {
                left = Node { at, expr: Expr::Chain(Box::new(left), rest) };
            }
        }
        Ok(left)
    }
    fn unary(&mut self) -> Result<Node> {
        let at = self.at();
        if let operator @ ("-" | "+" | "~") = self.op() {
            self.advance();
            let inner = self.deeper(Self::unary)?;
            return Ok(Node { at, expr: Expr::Unary(operator, Box::new(inner)) });
        }
        let base = self.postfix()?;
        if !self.eat("**") {
            return Ok(base);
        }
        let exponent = self.deeper(Self::unary)?;
        Ok(Node { at, expr: Expr::Chain(Box::new(base), vec![("**", exponent)]) })
    }
    fn postfix(&mut self) -> Result<Node> {
        let at = self.at();
        let base = self.atom()?;
        let mut trailers = Vec::new();
        loop {
            let at = self.at();
            let step = if self.eat(".") {
                Step::Attribute(self.name("an attribute's name after `.`")?)
            } else if self.eat("(") {
                Step::Call(self.arguments()?)
            } else if self.eat("[") {
                Step::Index(Box::new(self.index()?))
            } else {
                break;
            };
            trailers.push(Trailer { at, step });
        }
        Ok(if trailers.is_empty() { base } else { Node { at, expr: Expr::Postfix(Box::new(base), trailers) } })
    }
    fn arguments(&mut self) -> Result<Vec<Argument>> {
        let mut arguments = Vec::new();
        let mut named = false;
        while self.op() != ")" {
            let at = self.at();
            let argument = if self.eat("**") {
                Argument::Unpack(self.expression()?)
            } else if self.eat("*") {
                Argument::Starred(self.expression()?)
            } else if self.op_ahead(1) == "=" && !self.word().is_empty() {
                let name = self.name("an argument's name")?;
                self.advance();
                if arguments.iter().any(|other| matches!(other, Argument::Named(other, _) if *other == name)) {
                    return Err(self.error(at, format!("argument `{name}` is given twice")));
                }
                Argument::Named(name, self.expression()?)
            } else {
                let value = self.named()?;
                if self.word() == "for" || self.word() == "async" {
                    let generator = self.comprehension(at, Kind::Generator, Element::One(value))?;
                    if !arguments.is_empty() || self.op() != ")" {
                        return Err(self.error(at, "a generator next to other arguments needs parentheses"));
                    }
                    arguments.push(Argument::Positional(generator));
                    continue;
                }
                if named {
                    return Err(self.error(at, "positional argument follows named argument"));
                }
                Argument::Positional(value)
            };
            named |= matches!(argument, Argument::Named(..) | Argument::Unpack(_));
            arguments.push(argument);
            if !self.eat(",") && self.op() != ")" {
                return Err(self.unexpected("`,` or `)` after an argument"));
            }
        }
        self.expect(")", "the arguments")?;
        Ok(arguments)
    }
    fn index(&mut self) -> Result<Node> {
        let at = self.at();
        let first = self.slice()?;
        if self.op() != "," && !first.starred {
            self.expect("]", "the index")?;
            return Ok(first.value);
        }
        Ok(Node { at, expr: Expr::Tuple(self.rest_of_items(first, "]", Self::slice)?) })
    }
    fn slice(&mut self) -> Result<Item> {
        let at = self.at();
        let ends = |this: &Self| matches!(this.op(), ":" | "]" | ",");
        let start = if ends(self) { None } else { Some(self.item(true)?) };
        match start {
            Some(item) if item.starred || self.op() != ":" => return Ok(item),
            None if self.op() != ":" => return Err(self.unexpected("an index")),
            _ => {}
        }
        let mut parts = [start.map(|item| item.value), None, None];
        for part in &mut parts[1..] {
            if !self.eat(":") {
                break;
            }
            if !ends(self) {
                *part = Some(self.expression()?);
            }
        }
        Ok(Item { starred: false, value: Node { at, expr: Expr::Slice(Box::new(parts)) } })
    }

    fn atom(&mut self) -> Result<Node> {
        let Token { at, tok } = self.token();
        let at = *at;
        let constant = |this: &mut Self, value: Value| {
            this.advance();
            Ok(Node { at, expr: Expr::Constant(value) })
        };
        match tok {
            Tok::Int(value) => constant(self, Value::Int(*value)),
            Tok::Float(value) => constant(self, Value::Float(*value)),
            Tok::Str(_) | Tok::FString(_) => self.strings(),
            Tok::Reference(id) => {
                self.advance();
                Ok(Node { at, expr: Expr::Reference(id.clone()) })
            }
            Tok::Name(name) => match &**name {
                "None" => constant(self, Value::None),
                "True" => constant(self, Value::Bool(true)),
                "False" => constant(self, Value::Bool(false)),
                keyword if is_keyword(keyword) => Err(self.unexpected("a value")),
                _ => {
                    self.advance();
                    Ok(Node { at, expr: Expr::Name(name.clone()) })
                }
            },
            Tok::Op("...") => constant(self, Value::Ellipsis),
            Tok::Op("(") => {
                self.advance();
                self.deeper(|this| this.round(at))
            }
            Tok::Op("[") => {
                self.advance();
                self.deeper(|this| this.square(at))
            }
            Tok::Op("{") => {
                self.advance();
                self.deeper(|this| this.curly(at))
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// After `(`: a value in parentheses, a tuple or a generator.
    fn round(&mut self, at: usize) -> Result<Node> {
        if self.eat(")") {
            return Ok(Node { at, expr: Expr::Tuple(vec![]) });
        }
        if self.word() == "yield" {
            return Err(self.unexpected("a value"));
        }
        let first = self.item(true)?;
        if self.op() == ")" {
            self.advance();
            return self.single(first, at);
        }
        self.items_or_comprehension(at, first, ")", Kind::Generator, Expr::Tuple)
    }
    /// After `[`: a list or a list comprehension.
    fn square(&mut self, at: usize) -> Result<Node> {
        if self.eat("]") {
            return Ok(Node { at, expr: Expr::List(vec![]) });
        }
        let first = self.item(true)?;
        self.items_or_comprehension(at, first, "]", Kind::List, Expr::List)
    }
    /// What follows the first item in brackets: `for`, or further items.
    fn items_or_comprehension(
        &mut self,
        at: usize,
        first: Item,
        close: &str,
        kind: Kind,
        make: fn(Vec<Item>) -> Expr,
    ) -> Result<Node> {
        if matches!(self.word(), "for" | "async") && !first.starred {
            return self.closed(at, kind, Element::One(first.value), close);
        }
        Ok(Node { at, expr: make(self.rest_of_items(first, close, |this| this.item(true))?) })
    }
    fn closed(&mut self, at: usize, kind: Kind, element: Element, close: &str) -> Result<Node> {
        let node = self.comprehension(at, kind, element)?;
        self.expect(close, "the comprehension")?;
        Ok(node)
    }
    fn rest_of_items(
        &mut self,
        first: Item,
        close: &str,
        next: impl Fn(&mut Self) -> Result<Item>,
    ) -> Result<Vec<Item>> {
        let mut items = vec![first];
        while self.eat(",") {
            if self.op() == close {
                break;
            }
            items.push(next(self)?);
        }
        if !self.eat(close) {
            return Err(self.unexpected(&format!("`,` or `{close}`")));
        }
        Ok(items)
    }
    /// After `{`: a dict, a set or a comprehension of either.
    fn curly(&mut self, at: usize) -> Result<Node> {
        if self.eat("}") {
            return Ok(Node { at, expr: Expr::Dict(vec![]) });
        }
        if self.op() != "**" {
            let first = self.item(true)?;
            if first.starred || self.op() != ":" {
                return self.items_or_comprehension(at, first, "}", Kind::Set, Expr::Set);
            }
            self.advance();
            let value = self.expression()?;
            if matches!(self.word(), "for" | "async") {
                return self.closed(at, Kind::Dict, Element::KeyValue(first.value, value), "}");
            }
            return self.pairs(at, vec![Pair::KeyValue(first.value, value)]);
        }
        self.advance();
        let first = Pair::Unpack(self.binary(0)?);
        self.pairs(at, vec![first])
    }
    fn pairs(&mut self, at: usize, mut pairs: Vec<Pair>) -> Result<Node> {
        while self.eat(",") {
            if self.op() == "}" {
                break;
            }
            if self.eat("**") {
                pairs.push(Pair::Unpack(self.binary(0)?));
                continue;
            }
            let key = self.expression()?;
            self.expect(":", "a dict's key")?;
            pairs.push(Pair::KeyValue(key, self.expression()?));
        }
        if !self.eat("}") {
            return Err(self.unexpected("`,` or `}`"));
        }
        Ok(Node { at, expr: Expr::Dict(pairs) })
    }

    /// Parse adjacent string literals, which are concatenated.
    fn strings(&mut self) -> Result<Node> {
        let at = self.at();
        let mut pieces = Vec::new();
        let mut formatted = false;
        loop {
            match &self.token().tok {
                Tok::Str(text) => pieces.push(Piece::Text(text.clone())),
                Tok::FString(parts) => {
                    formatted = true;
                    pieces.extend(self.deeper(|this| this.pieces(parts))?);
                }
                _ => break,
            }
            self.advance();
        }
        if formatted {
            return Ok(Node { at, expr: Expr::FString(pieces) });
        }
        let text: String =
            pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "" }).collect();
        Ok(Node { at, expr: Expr::Constant(Value::from(text)) })
    }
    fn pieces(&mut self, parts: &[Part]) -> Result<Vec<Piece>> {
        let one = |part: &Part| -> Result<Piece> {
            let (tokens, conversion, spec) = match part {
                Part::Text(text) => return Ok(Piece::Text(text.clone())),
                Part::Value { tokens, conversion, spec } => (tokens, *conversion, spec),
            };
            let mut inner = Parser { text: self.text, tokens, next: 0, depth: self.depth };
            let value = inner.expressions()?;
            if !matches!(inner.token().tok, Tok::End) {
                return Err(inner.unexpected("the end of the f-string's value"));
            }
            Ok(Piece::Value { value, conversion, spec: inner.deeper(|inner| inner.pieces(spec))? })
        };
        parts.iter().map(one).collect()
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok()
}

fn is_statement(word: &str) -> bool {
    is_keyword(word)
        && !matches!(
            word,
            "and" | "or" | "not" | "in" | "is" | "if" | "else" | "lambda" | "for" | "None" | "True" | "False"
        )
}
