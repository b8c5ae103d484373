//! Enums of strings: `monai.utils.enums` of MONAI 1.6.1, and `ignite.engine.Events`.
//!
//! Members are strings, which compare, hash and print like strings in MONAI, too. The table identifies a member by the
//! address of its string, so that `.name` and `.value` are available on members only. The classes are prefixes of
//! names: they cannot be called, indexed or iterated over.

use std::sync::{Arc, LazyLock};

/// Dotted names and strings of all members; the last part of a dotted name is the member's `.name`.
pub static MEMBERS: LazyLock<Vec<(String, Arc<str>)>> = LazyLock::new(|| {
    let mut members = vec![];
    for line in include_str!("enums.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let class = words.next().unwrap_or_default();
        let paths = match class.strip_prefix('-') {
            Some(name) => vec![format!("monai.utils.enums.{name}")],
            None if class.contains('.') => vec![class.to_owned()],
            None => vec![format!("monai.utils.{class}"), format!("monai.utils.enums.{class}")],
        };
        for (member, text) in words.filter_map(|word| word.split_once('=')) {
            let text: Arc<str> = text.into();
            members.extend(paths.iter().map(|path| (format!("{path}.{member}"), text.clone())));
        }
    }
    members
});
