//! `monai.utils.enums`: MONAI's enums of strings (MONAI 1.6.1).
//!
//! A member is its string: it compares, hashes and prints like one in MONAI as well. The table recognizes a member by the
//! string's identity, so that `.name` and `.value` work on it, and only on it. The classes themselves are only prefixes
//! here: they cannot be called, indexed or iterated over.

use std::sync::{Arc, LazyLock};

/// Dotted names of members and their strings; the last part of a name is the member's `.name`.
pub static MEMBERS: LazyLock<Vec<(String, Arc<str>)>> = LazyLock::new(|| {
    let mut members = vec![];
    for line in include_str!("monai_enums.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let class = words.next().unwrap_or_default();
        for (member, text) in words.filter_map(|word| word.split_once('=')) {
            let text: Arc<str> = text.into();
            if !class.starts_with('-') {
                members.push((format!("monai.utils.{class}.{member}"), text.clone()));
            }
            members.push((format!("monai.utils.enums.{}.{member}", class.trim_start_matches('-')), text));
        }
    }
    members
});
