//! `str.format`: fields by position and name, with a conversion and a specification.
//!
//! Differences from Python: fields have no attributes and indices, and specifications contain no fields.

use super::format;
use crate::component::{Args, BuildContext, Value};
use crate::error::Result;
use crate::{bail, err};

/// Evaluate `template.format(args)`.
///
/// # Errors
/// An invalid template, a missing argument, or a value that a specification does not apply to.
pub fn format(template: &str, args: &Args, call: &mut BuildContext) -> Result<String> {
    let mut fields = Formatter { args, next: 0 };
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            bail!("single '}}' encountered in format string");
        }
        let end = rest.find('}').ok_or_else(|| err!("expected '}}' before end of string"))?;
        let text = fields.field(&rest[..end], call)?;
        call.charge(text.len() / 16 + 1)?;
        out.push_str(&text);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    call.charge(out.len())?;
    Ok(out)
}

struct Formatter<'a> {
    args: &'a Args,
    /// Position of the next field without a name.
    next: usize,
}

impl Formatter<'_> {
    /// `name!r:spec`
    fn field(&mut self, field: &str, call: &mut BuildContext) -> Result<String> {
        let (head, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) = head.split_once('!').map_or((head, None), |(name, after)| (name, Some(after)));
        let mut value = self.value(name)?;
        match conversion {
            None => {}
            Some("r") => value = Value::from(format::converted(&value, 'r', call)?),
            Some("s") => value = Value::from(format::converted(&value, 's', call)?),
            Some(other) => bail!("expected the conversion !r or !s, found !{other}"),
        }
        format::format(&value, spec, call)
    }

    fn value(&mut self, name: &str) -> Result<Value> {
        if name.contains(['.', '[']) {
            return Err(err!("format string: expected a name or position, found `{name}`").hint("use an f-string"));
        }
        let position = if name.is_empty() {
            self.next += 1;
            Some(self.next - 1)
        } else {
            name.parse().ok()
        };
        let found = match position {
            Some(at) => self.args.positional.get(at),
            None => self.args.named.iter().find(|(key, _)| **key == *name).map(|(_, value)| value),
        };
        found.cloned().ok_or_else(|| match position {
            Some(at) => err!("replacement index {at} out of range for positional args"),
            None => err!("format() got no argument `{name}`"),
        })
    }
}
