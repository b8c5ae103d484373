//! `re`, on the fancy-regex crate (which has look-around and back-references as Python's has).
//!
//! Positions are in characters, as Python counts. Differences: `re.ASCII`, `re.LOCALE` and `re.DEBUG` are not
//! supported; a pattern whose matching takes too long is an error instead of a hang.

use super::common::{charge_text, one, pure, to, wrong};
use crate::component::{Args, BuildContext, Declared, FromValue, Function, Object, Value};
use crate::error::{Kind, Result};
use crate::{args, bail, err};
use std::sync::Arc;
use std::time::Instant;

const IGNORECASE: i64 = 2;
const MULTILINE: i64 = 8;
const DOTALL: i64 = 16;
const UNICODE: i64 = 32;
const VERBOSE: i64 = 64;

pub const CONSTANTS: super::common::Constants = &[
    ("re.I", || IGNORECASE.into()),
    ("re.IGNORECASE", || IGNORECASE.into()),
    ("re.M", || MULTILINE.into()),
    ("re.MULTILINE", || MULTILINE.into()),
    ("re.S", || DOTALL.into()),
    ("re.DOTALL", || DOTALL.into()),
    ("re.U", || UNICODE.into()),
    ("re.UNICODE", || UNICODE.into()),
    ("re.X", || VERBOSE.into()),
    ("re.VERBOSE", || VERBOSE.into()),
];

pub const FUNCTIONS: &[Function] = &[
    pure("re.compile", |args, call| {
        let args = Compile::parse("re.compile", args)?;
        Ok(Value::object(Regex::of("re.compile", &args.pattern, args.flags, call)?))
    }),
    pure("re.match", |args, call| search("re.match", "match", args, call)),
    pure("re.search", |args, call| search("re.search", "search", args, call)),
    pure("re.fullmatch", |args, call| search("re.fullmatch", "fullmatch", args, call)),
    pure("re.findall", |args, call| search("re.findall", "findall", args, call)),
    pure("re.finditer", |args, call| search("re.finditer", "finditer", args, call)),
    pure("re.split", |args, call| {
        let args = Split::parse("re.split", args)?;
        Regex::of("re.split", &args.pattern, args.flags, call)?.split(&args.string, args.maxsplit, call)
    }),
    pure("re.sub", |args, call| {
        let args = Sub::parse("re.sub", args)?;
        Ok(Regex::of("re.sub", &args.pattern, args.flags, call)?
            .sub(&args.repl, args.string, args.count, call)?
            .0
            .into())
    }),
    pure("re.subn", |args, call| {
        let args = Sub::parse("re.subn", args)?;
        let (text, count) =
            Regex::of("re.subn", &args.pattern, args.flags, call)?.sub(&args.repl, args.string, args.count, call)?;
        Ok(Value::tuple([text.into(), Value::Int(count as i64)]))
    }),
    pure("re.escape", |args, _| {
        let text: String = one("re.escape", "pattern", args)?;
        Ok(text
            .chars()
            .map(|c| if "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c".contains(c) { format!("\\{c}") } else { c.into() })
            .collect::<String>()
            .into())
    }),
];

args! {
    struct Compile {
        pattern: Value,
        flags: i64 = 0,
    }
}
args! {
    struct Search {
        pattern: Value,
        string: Arc<str>,
        flags: i64 = 0,
    }
}
args! {
    struct Split {
        pattern: Value,
        string: Arc<str>,
        maxsplit: usize = 0,
        flags: i64 = 0,
    }
}
args! {
    struct Sub {
        pattern: Value,
        repl: Value,
        string: Arc<str>,
        count: usize = 0,
        flags: i64 = 0,
    }
}
args! {
    struct MethodSplit {
        string: Arc<str>,
        maxsplit: usize = 0,
    }
}
args! {
    struct MethodSub {
        repl: Value,
        string: Arc<str>,
        count: usize = 0,
    }
}

fn search(name: &str, how: &str, args: Args, call: &mut BuildContext) -> Result<Value> {
    let args = Search::parse(name, args)?;
    Regex::of(name, &args.pattern, args.flags, call)?.run(how, args.string, call)
}

/// The time that patterns take, where nothing else tells their cost: a microsecond counts as a step, so that no number of
/// slow matches takes longer than some ten seconds.
struct Clock(Instant);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now())
    }
    /// What has passed since the start or the last charge.
    fn charge(&mut self, call: &mut BuildContext) -> Result<()> {
        let now = Instant::now();
        let passed = now.duration_since(std::mem::replace(&mut self.0, now));
        call.charge(passed.as_micros() as usize)
    }
}

/// A compiled pattern.
#[derive(Clone)]
struct Regex {
    text: Arc<str>,
    flags: i64,
    regex: Arc<fancy_regex::Regex>,
    /// Anchored at the start, and at both ends; compiled when first asked for would need a lock, and patterns are short.
    start: Arc<fancy_regex::Regex>,
    full: Arc<fancy_regex::Regex>,
}

impl Regex {
    fn of(name: &str, pattern: &Value, flags: i64, call: &mut BuildContext) -> Result<Regex> {
        if let Some(regex) = pattern.downcast::<Regex>() {
            return Ok((*regex).clone());
        }
        let text: Arc<str> = to(&format!("{name}: argument `pattern`"), pattern)?;
        if flags & !(IGNORECASE | MULTILINE | DOTALL | UNICODE | VERBOSE) != 0 {
            bail!("{name}: flags {flags} are not supported, expected re.I, re.M, re.S or re.X");
        }
        let letters: String = [(IGNORECASE, 'i'), (MULTILINE, 'm'), (DOTALL, 's'), (VERBOSE, 'x')]
            .iter()
            .filter(|f| flags & f.0 != 0)
            .map(|f| f.1)
            .collect();
        let prefix = if letters.is_empty() { String::new() } else { format!("(?{letters})") };
        // Python's \Z is the very end, its $ also stands before a last line end; fancy-regex has \z for the first.
        let body = translate(&text, flags & MULTILINE != 0);
        let build = |pattern: String| {
            fancy_regex::RegexBuilder::new(&pattern)
                .backtrack_limit(1_000_000)
                .build()
                .map(Arc::new)
                .map_err(|e| err!("{name}: no valid pattern '{text}': {e}").kind(Kind::Config))
        };
        // A comment at the end of a verbose pattern must not swallow the closing bracket.
        let end = if flags & VERBOSE != 0 { "\n)" } else { ")" };
        charge_text(call, text.len())?;
        let mut clock = Clock::start();
        let regex = Regex {
            regex: build(format!("{prefix}{body}"))?,
            start: build(format!("{prefix}\\A(?:{body}{end}"))?,
            full: build(format!("{prefix}\\A(?:{body}{end}\\z"))?,
            text,
            flags,
        };
        clock.charge(call)?;
        Ok(regex)
    }

    fn run(&self, how: &str, string: Arc<str>, call: &mut BuildContext) -> Result<Value> {
        charge_text(call, string.len())?;
        let regex = match how {
            "match" => &self.start,
            "fullmatch" => &self.full,
            _ => &self.regex,
        };
        let found = |captures: fancy_regex::Captures<'_>| Match::new(regex, &captures, &string);
        match how {
            "findall" | "finditer" => {
                let mut all = vec![];
                let mut clock = Clock::start();
                for captures in self.all(regex, &string) {
                    call.charge(1)?;
                    clock.charge(call)?;
                    let found = found(captures?);
                    all.push(if how == "finditer" {
                        Value::object(found)
                    } else {
                        match &found.groups[1..] {
                            [] => found.group(0, "".into()),
                            [_] => found.group(1, "".into()),
                            groups => Value::tuple((1..=groups.len()).map(|i| found.group(i, "".into()))),
                        }
                    });
                }
                Ok(Value::list(all))
            }
            _ => {
                let mut clock = Clock::start();
                let captures = regex.captures(&string).map_err(|e| failed(&self.text, e))?;
                clock.charge(call)?;
                Ok(captures.map_or(Value::None, |captures| Value::object(found(captures))))
            }
        }
    }

    /// All matches from left to right. As in Python, an empty one may follow directly on another, but not on an empty
    /// one at the same place.
    fn all<'t>(
        &'t self,
        regex: &'t fancy_regex::Regex,
        text: &'t str,
    ) -> impl Iterator<Item = Result<fancy_regex::Captures<'t>>> {
        let (mut at, mut empty_at) = (0, None);
        std::iter::from_fn(move || {
            loop {
                if at > text.len() {
                    return None;
                }
                let captures = match regex.captures_from_pos(text, at) {
                    Ok(captures) => captures?,
                    Err(e) => {
                        at = text.len() + 1;
                        return Some(Err(failed(&self.text, e)));
                    }
                };
                let whole = captures.get(0)?;
                let (start, end) = (whole.start(), whole.end());
                if start == end && empty_at == Some(end) {
                    at = end + text[end..].chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                at = end;
                empty_at = (start == end).then_some(end);
                return Some(Ok(captures));
            }
        })
    }

    fn split(&self, string: &Arc<str>, limit: usize, call: &mut BuildContext) -> Result<Value> {
        charge_text(call, string.len())?;
        let (mut parts, mut at, mut count) = (vec![], 0, 0);
        let mut clock = Clock::start();
        for captures in self.all(&self.regex, string) {
            clock.charge(call)?;
            if limit > 0 && count == limit {
                break;
            }
            call.charge(1)?;
            let found = Match::new(&self.regex, &captures?, string);
            let Some((start, end)) = found.groups[0] else { continue };
            parts.push(Value::str(&string[at..start]));
            parts.extend((1..found.groups.len()).map(|i| found.group(i, Value::None)));
            at = end;
            count += 1;
        }
        parts.push(Value::str(&string[at..]));
        Ok(Value::list(parts))
    }

    fn sub(
        &self,
        replacement: &Value,
        string: Arc<str>,
        limit: usize,
        call: &mut BuildContext,
    ) -> Result<(String, usize)> {
        charge_text(call, string.len())?;
        let template = match replacement {
            Value::Str(text) => Some(template(text)?),
            value if value.callable() => None,
            other => return Err(wrong("re.sub: argument `repl`", "str or callable", other)),
        };
        let (mut out, mut at, mut count) = (String::new(), 0, 0);
        let mut clock = Clock::start();
        for captures in self.all(&self.regex, &string) {
            clock.charge(call)?;
            if limit > 0 && count == limit {
                break;
            }
            let found = Match::new(&self.regex, &captures?, &string);
            let Some((start, end)) = found.groups[0] else { continue };
            out.push_str(&string[at..start]);
            match &template {
                Some(pieces) => {
                    for piece in pieces {
                        match piece {
                            Piece::Text(text) => out.push_str(text),
                            Piece::Group(name) => {
                                let group = found.position(&Value::str(name))?;
                                out.push_str(found.group(group, "".into()).as_str().unwrap_or(""));
                            }
                        }
                    }
                }
                None => {
                    let text = replacement.call(Args::positional([Value::object(found)]), call)?;
                    out.push_str(&to::<String>("re.sub: result of `repl`", &text)?);
                }
            }
            call.charge(1)?;
            charge_text(call, out.len() / 64)?;
            at = end;
            count += 1;
        }
        out.push_str(&string[at..]);
        Ok((out, count))
    }
}

fn failed(pattern: &str, e: fancy_regex::Error) -> crate::error::Error {
    err!("re: matching '{pattern}' failed: {e}").kind(Kind::Config)
}

/// Python's spelling of a pattern in the crate's: `\Z`, `$` before a last line end, `(?P=name)`.
fn translate(pattern: &str, multiline: bool) -> String {
    let (mut out, mut in_set) = (String::new(), false);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !in_set => out.push_str("\\z"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '[' if !in_set => {
                in_set = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                // A `]` that comes first is a member in Python.
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            // A `[` or `&&` within a set is literal in Python and an operator in the crate.
            '[' => out.push_str("\\["),
            '&' if in_set => out.push_str("\\&"),
            '~' if in_set => out.push_str("\\~"),
            ']' => {
                in_set = false;
                out.push(']');
            }
            '$' if !in_set && !multiline => out.push_str("(?=\\n?\\z)"),
            c => out.push(c),
        }
    }
    out
}

enum Piece {
    Text(String),
    Group(String),
}

/// A replacement text in pieces: `\1`, `\g<1>`, `\g<name>`, `\n`, `\\`.
fn template(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = vec![Piece::Text(String::new())];
    let mut chars = text.chars().peekable();
    let push = |pieces: &mut Vec<Piece>, c: char| match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.into())),
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut pieces, c);
            continue;
        }
        match chars.next() {
            Some('g') if chars.peek() == Some(&'<') => {
                let name: String = chars.by_ref().skip(1).take_while(|c| *c != '>').collect();
                pieces.push(Piece::Group(name));
            }
            Some(digit @ '1'..='9') => {
                let mut name = digit.to_string();
                if let Some(second) = chars.next_if(char::is_ascii_digit) {
                    name.push(second);
                }
                pieces.push(Piece::Group(name));
            }
            Some('n') => push(&mut pieces, '\n'),
            Some('t') => push(&mut pieces, '\t'),
            Some('r') => push(&mut pieces, '\r'),
            Some('\\') => push(&mut pieces, '\\'),
            Some(c) if c.is_ascii_alphanumeric() => bail!("re.sub: bad escape \\{c} in the replacement"),
            Some(c) => {
                push(&mut pieces, '\\');
                push(&mut pieces, c);
            }
            None => bail!("re.sub: the replacement ends in a backslash"),
        }
    }
    Ok(pieces)
}

impl Object for Regex {
    fn type_name(&self) -> &str {
        "re.Pattern"
    }
    fn repr(&self) -> String {
        format!("re.compile({:?})", Value::Str(self.text.clone()))
    }
    fn attr_names(&self) -> &[&str] {
        &["match", "search", "fullmatch", "findall", "finditer", "split", "sub", "pattern", "flags", "groups"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok(match name {
            "pattern" => Some(Value::Str(self.text.clone())),
            "flags" => Some(Value::Int(self.flags | UNICODE)),
            "groups" => Some(Value::Int(self.regex.captures_len() as i64 - 1)),
            _ => None,
        })
    }
    fn call_method(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        let args = std::mem::take(args);
        Ok(Some(match name {
            "match" | "search" | "fullmatch" | "findall" | "finditer" => {
                self.run(name, one(name, "string", args)?, call)?
            }
            "split" => {
                let args = MethodSplit::parse("split", args)?;
                self.split(&args.string, args.maxsplit, call)?
            }
            "sub" => {
                let args = MethodSub::parse("sub", args)?;
                self.sub(&args.repl, args.string, args.count, call)?.0.into()
            }
            _ => return Ok(None),
        }))
    }
}

/// One match: byte ranges of its groups in the text.
struct Match {
    text: Arc<str>,
    groups: Vec<Option<(usize, usize)>>,
    names: Vec<Option<String>>,
}

impl Match {
    fn new(regex: &fancy_regex::Regex, captures: &fancy_regex::Captures<'_>, text: &Arc<str>) -> Match {
        Match {
            text: text.clone(),
            groups: captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect(),
            names: regex.capture_names().map(|name| name.map(str::to_owned)).collect(),
        }
    }
    fn group(&self, at: usize, absent: Value) -> Value {
        self.groups[at].map_or(absent, |(start, end)| Value::str(&self.text[start..end]))
    }
    /// A group's number from a number or name.
    fn position(&self, group: &Value) -> Result<usize> {
        let at = match group {
            Value::Str(name) => {
                name.parse::<usize>().ok().or_else(|| self.names.iter().position(|own| own.as_deref() == Some(&**name)))
            }
            value => usize::from_value(value),
        };
        at.filter(|at| *at < self.groups.len()).ok_or_else(|| err!("re: no such group: {group:?}").kind(Kind::Config))
    }
    fn at(&self, args: Args, end: bool) -> Result<Value> {
        let group = args.positional.first().map_or(Ok(0), |group| self.position(group))?;
        let chars = |byte: usize| Value::Int(self.text[..byte].chars().count() as i64);
        Ok(self.groups[group].map_or(Value::Int(-1), |(start, stop)| chars(if end { stop } else { start })))
    }
}

impl Object for Match {
    fn type_name(&self) -> &str {
        "re.Match"
    }
    fn repr(&self) -> String {
        format!("<re.Match object; match={:?}>", self.group(0, Value::None))
    }
    fn attr_names(&self) -> &[&str] {
        &["group", "groups", "groupdict", "start", "end", "span", "string"]
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        Ok((name == "string").then(|| Value::Str(self.text.clone())))
    }
    fn index(&self, index: &Value) -> Result<Value> {
        Ok(self.group(self.position(index)?, Value::None))
    }
    fn call_method(&self, name: &str, args: &mut Args, _call: &mut BuildContext) -> Result<Option<Value>> {
        let args = std::mem::take(args);
        Ok(Some(match name {
            "group" => match &args.positional[..] {
                [] => self.group(0, Value::None),
                [one] => self.index(one)?,
                many => Value::tuple(many.iter().map(|one| self.index(one)).collect::<Result<Vec<_>>>()?),
            },
            "groups" => {
                let absent = args.positional.first().cloned().unwrap_or(Value::None);
                Value::tuple((1..self.groups.len()).map(|i| self.group(i, absent.clone())))
            }
            "groupdict" => {
                Value::Dict(crate::component::Dict::new(self.names.iter().enumerate().filter_map(|(i, name)| {
                    Some((crate::component::Key::str(name.as_deref()?), self.group(i, Value::None)))
                })))
            }
            "start" => self.at(args, false)?,
            "end" => self.at(args, true)?,
            "span" => Value::tuple([self.at(args.clone(), false)?, self.at(args, true)?]),
            _ => return Ok(None),
        }))
    }
}
