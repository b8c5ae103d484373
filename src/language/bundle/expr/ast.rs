//! Syntax tree of expressions. Chains are flat, so that the depth of the tree is the nesting in the text.

use crate::component::Value;
use std::sync::Arc;

/// A syntax node and its byte offset in the text.
#[derive(Debug)]
pub struct Node {
    pub at: usize,
    pub expr: Expr,
}

#[derive(Debug)]
pub enum Expr {
    /// A literal; immutable, so that all evaluations share one value.
    Constant(Value),
    /// `@id`, with `#` written as `::`.
    Reference(String),
    Name(Arc<str>),
    FString(Vec<Piece>),
    Tuple(Vec<Item>),
    List(Vec<Item>),
    Set(Vec<Item>),
    Dict(Vec<Pair>),
    /// Operators of one precedence from left to right: `a - b + c`. Also `a ** b`.
    Chain(Box<Node>, Vec<(&'static str, Node)>),
    /// `-`, `+`, `~`.
    Unary(&'static str, Box<Node>),
    Not(Box<Node>),
    Compare(Box<Node>, Vec<(&'static str, Node)>),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// `then if condition else otherwise`, in the order condition, then, otherwise.
    Conditional(Box<[Node; 3]>),
    /// `a.b(c)[d]`
    Postfix(Box<Node>, Vec<Trailer>),
    Lambda(Arc<Lambda>),
    Comprehension(Arc<Comprehension>),
    /// `name := value`
    Walrus(Arc<str>, Box<Node>),
    /// `start:stop:step`, only inside `[]`.
    Slice(Box<[Option<Node>; 3]>),
}

/// A part of an f-string.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    /// `{value!r:spec}`
    Value {
        value: Node,
        conversion: Option<char>,
        spec: Vec<Piece>,
    },
}

/// `value` or `*value`.
#[derive(Debug)]
pub struct Item {
    pub starred: bool,
    pub value: Node,
}

#[derive(Debug)]
pub enum Pair {
    KeyValue(Node, Node),
    /// `**mapping`
    Unpack(Node),
}

#[derive(Debug)]
pub struct Trailer {
    pub at: usize,
    pub step: Step,
}

#[derive(Debug)]
pub enum Step {
    Attribute(Arc<str>),
    Call(Vec<Argument>),
    Index(Box<Node>),
}

#[derive(Debug)]
pub enum Argument {
    Positional(Node),
    Starred(Node),
    Named(Arc<str>, Node),
    Unpack(Node),
}

#[derive(Debug)]
pub struct Lambda {
    pub parameters: Parameters,
    pub body: Node,
}

#[derive(Debug, Default)]
pub struct Parameters {
    pub positional: Vec<Parameter>,
    /// `*args`
    pub rest: Option<Arc<str>>,
    /// `**kwargs`
    pub keywords: Option<Arc<str>>,
}

impl Parameters {
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.positional.iter().map(|parameter| &parameter.name).chain(&self.rest).chain(&self.keywords)
    }
    pub fn defaults(&self) -> impl Iterator<Item = &Node> {
        self.positional.iter().filter_map(|parameter| parameter.default.as_ref())
    }
}

#[derive(Debug)]
pub struct Parameter {
    pub name: Arc<str>,
    pub default: Option<Node>,
}

#[derive(Debug)]
pub struct Comprehension {
    pub kind: Kind,
    pub element: Element,
    pub clauses: Vec<Clause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    Set,
    Dict,
    Generator,
}

#[derive(Debug)]
pub enum Element {
    One(Node),
    KeyValue(Node, Node),
}

/// `for target in iterable if condition …`
#[derive(Debug)]
pub struct Clause {
    pub at: usize,
    pub target: Target,
    pub iterable: Node,
    pub conditions: Vec<Node>,
}

#[derive(Debug)]
pub enum Target {
    Name(Arc<str>),
    Several(Vec<Target>),
}

impl Target {
    pub fn names<'a>(&'a self, into: &mut Vec<&'a Arc<str>>) {
        match self {
            Target::Name(name) => into.push(name),
            Target::Several(targets) => targets.iter().for_each(|target| target.names(into)),
        }
    }
}
