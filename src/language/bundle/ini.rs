//! Reader of INI files, as Python's `configparser` without interpolation.

use crate::err;
use crate::error::{Error, Kind, Result};
use indexmap::IndexMap;

/// Sections in the order of the file; `DEFAULT` provides options for all of them.
#[derive(Debug, Default)]
pub struct Ini {
    sections: IndexMap<String, Section>,
}

#[derive(Debug, Default)]
pub struct Section {
    /// Line of the section's header.
    pub line: usize,
    options: IndexMap<String, Entry>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub text: String,
    pub line: usize,
}

impl Ini {
    /// Parse the text of a file; errors contain `file:line`.
    pub fn parse(text: &str, file: &str) -> Result<Ini> {
        let mut ini = Ini::default();
        let mut section: Option<String> = None;
        // The option that an indented line continues, and its indentation.
        let mut open: Option<(String, usize)> = None;
        for (number, raw) in text.lines().enumerate() {
            let line = number + 1;
            let fail = |message: String| err!("{message}").kind(Kind::Config).file(format!("{file}:{line}"));
            let trimmed = raw.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let indent = raw.len() - raw.trim_start().len();
            let current = section.as_ref().and_then(|name| ini.sections.get_mut(name));
            if let (Some(current), Some((key, own))) = (current, &open)
                && indent > *own
            {
                if let Some(entry) = current.options.get_mut(key) {
                    entry.text.push('\n');
                    entry.text.push_str(trimmed);
                }
                continue;
            }
            open = None;
            if let Some(rest) = trimmed.strip_prefix('[') {
                let Some((name, _)) = rest.rsplit_once(']').filter(|(name, _)| !name.is_empty()) else {
                    return Err(fail(format!("expected `[section]`, found `{trimmed}`")));
                };
                if name != "DEFAULT" && ini.sections.contains_key(name) {
                    return Err(fail(format!("the section [{name}] occurs twice")));
                }
                ini.sections.entry(name.to_owned()).or_insert(Section { line, ..Section::default() });
                section = Some(name.to_owned());
                continue;
            }
            let Some(current) = section.as_ref().and_then(|name| ini.sections.get_mut(name)) else {
                return Err(fail(format!("expected a `[section]` before `{trimmed}`")));
            };
            let Some((key, value)) = trimmed.split_once(['=', ':']).filter(|(key, _)| !key.trim().is_empty()) else {
                return Err(fail(format!("expected `key = value`, found `{trimmed}`")));
            };
            let key = key.trim().to_lowercase();
            if current.options.insert(key.clone(), Entry { text: value.trim().to_owned(), line }).is_some() {
                return Err(fail(format!("`{key}` occurs twice in one section")));
            }
            open = Some((key, indent));
        }
        Ok(ini)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }
    /// An option of a section, or of `DEFAULT`.
    pub fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        let own = self.sections.get(section)?;
        own.options.get(key).or_else(|| self.sections.get("DEFAULT")?.options.get(key))
    }
}

/// Add the file and the line to an error.
pub fn at(error: Error, file: &str, line: usize) -> Error {
    error.kind(Kind::Config).file(format!("{file}:{line}"))
}
