//! `str.format`: fields by position, name, attribute and item.

use super::{attributes, format, index};
use crate::component::{Args, BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};

struct Formatter<'a> {
    args: &'a Args,
    /// The next automatic field, or `None` once fields are numbered by hand.
    automatic: Option<usize>,
    numbered: bool,
}

pub fn format(template: &str, args: &Args, call: &mut BuildContext) -> Result<String> {
    Formatter { args, automatic: Some(0), numbered: false }.run(template, 2, call)
}

impl Formatter<'_> {
    /// `depth`: how many levels of fields may still stand inside one another.
    fn run(&mut self, template: &str, depth: usize, call: &mut BuildContext) -> Result<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if rest.starts_with(brace) {
                out.push_str(brace);
                rest = &rest[1..];
                continue;
            }
            if brace == "}" {
                bail!("single '}}' encountered in format string");
            }
            if depth == 0 {
                bail!("max string recursion exceeded");
            }
            let end = closing(rest).ok_or_else(|| err!("expected '}}' before end of string"))?;
            let text = self.field(&rest[..end], depth, call)?;
            call.charge(text.len() / 16 + 1)?;
            out.push_str(&text);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        call.charge(out.len())?;
        Ok(out)
    }

    /// `name.attribute[item]!r:spec`
    fn field(&mut self, field: &str, depth: usize, call: &mut BuildContext) -> Result<String> {
        // A `:` or `!` inside brackets belongs to an item's name.
        let mut inside = false;
        let end = field.find(|c: char| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => {}
            }
            !inside && matches!(c, ':' | '!')
        });
        let (path, mut rest) = end.map_or((field, ""), |end| field.split_at(end));
        let mut value = self.value(path, call)?;
        if let Some(after) = rest.strip_prefix('!') {
            let conversion = after
                .chars()
                .next()
                .filter(|c| matches!(c, 'r' | 's'))
                .ok_or_else(|| err!("a conversion is !r or !s"))?;
            value = Value::from(format::converted(&value, conversion, call)?);
            rest = &after[1..];
            if !rest.is_empty() && !rest.starts_with(':') {
                bail!("expected ':' after conversion specifier");
            }
        }
        let spec = match rest.strip_prefix(':') {
            Some(spec) if spec.contains(['{', '}']) => self.run(spec, depth - 1, call)?,
            Some(spec) => spec.to_owned(),
            None => String::new(),
        };
        format::format(&value, &spec, call)
    }

    fn value(&mut self, path: &str, call: &mut BuildContext) -> Result<Value> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (first, mut rest) = path.split_at(end);
        let mut value = self.first(first)?;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let end = after.find(']').ok_or_else(|| err!("missing ']' in format string"))?;
                let name = &after[..end];
                let digits = name.bytes().all(|b| b.is_ascii_digit());
                let at = name.parse().ok().filter(|_| digits).map_or_else(|| Value::str(name), Value::Int);
                value = index::index(&value, &at, call)?;
                rest = &after[end + 1..];
                if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                    bail!("only '.' or '[' may follow ']' in format field specifier");
                }
            } else {
                let after = &rest[1..];
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    bail!("empty attribute in format string");
                }
                value = attributes::attribute(&value, &after[..end], None)?;
                rest = &after[end..];
            }
        }
        Ok(value)
    }

    fn first(&mut self, name: &str) -> Result<Value> {
        let number = if name.is_empty() {
            let at = self.automatic.filter(|_| !self.numbered);
            let at =
                at.ok_or_else(|| err!("cannot switch from manual field specification to automatic field numbering"))?;
            self.automatic = Some(at + 1);
            Some(at)
        } else if name.bytes().all(|b| b.is_ascii_digit()) {
            if self.automatic != Some(0) {
                bail!("cannot switch from automatic field numbering to manual field specification");
            }
            self.numbered = true;
            Some(name.parse().map_err(|_| err!("too many decimal digits in format string"))?)
        } else {
            None
        };
        let found = match number {
            Some(at) => self.args.positional.get(at),
            None => self.args.named.iter().find(|(key, _)| **key == *name).map(|(_, value)| value),
        };
        found.cloned().ok_or_else(|| match number {
            Some(at) => err!("replacement index {at} out of range for positional args"),
            None => err!("format() got no argument `{name}`"),
        })
    }
}

/// The place of the brace that closes a field.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '[' if open == 0 => inside = true,
            ']' => inside = false,
            '{' if !inside => open += 1,
            '}' if !inside && open == 0 => return Some(at),
            '}' if !inside => open -= 1,
            _ => {}
        }
    }
    None
}
