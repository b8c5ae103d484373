//! CopyItemsd, SelectItemsd and DeleteItemsd: copy, select and delete entries of a sample.
//!
//! Source: monai/transforms/utility/dictionary.py of MONAI 1.6.1.

/// CopyItemsd: copy entries under new keys.
pub mod copy {
    use crate::bail;
    use crate::component::Keys;
    use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
    use crate::error::Result;
    use crate::transforms::support::KeyList;
    use std::sync::Arc;

    component! {
        /// Copy items to new keys.
        pub static COMPONENT = dictionary "CopyItems" in "monai.transforms" / "utility.dictionary";

        pub struct CopyItemsArgs {
            /// Keys to copy.
            keys: Keys,
            /// Number of copies of each item.
            times: usize = 1,
            /// Keys of the copies, all first copies before all second ones; None is `key_0`, `key_1`, ….
            names: Option<Keys> = (),
            /// Skip missing keys instead of raising an error.
            allow_missing_keys: bool = false,
        }

        build: CopyItems::new,
    }

    struct CopyItems {
        keys: KeyList,
        names: Vec<Arc<str>>,
        times: usize,
    }

    impl CopyItems {
        fn new(args: CopyItemsArgs) -> Result<Self> {
            let keys = KeyList::new(args.keys, args.allow_missing_keys);
            let wanted = keys.len().checked_mul(args.times).filter(|&n| n > 0 && n < 1 << 20);
            let Some(wanted) = wanted else {
                bail!("`times` is {}, expected a small number of at least 1", args.times)
            };
            let names = match args.names {
                Some(Keys(names)) => names,
                // As in MONAI, the copies of one key are numbered before those of the next.
                None => {
                    keys.keys.iter().flat_map(|key| (0..args.times).map(move |i| format!("{key}_{i}").into())).collect()
                }
            };
            if names.len() != wanted {
                bail!(
                    "`names` has {} keys, expected {wanted}: {} for each of {} keys",
                    names.len(),
                    args.times,
                    keys.len()
                );
            }
            Ok(CopyItems { keys, names, times: args.times })
        }
    }

    impl Transform for CopyItems {
        fn name(&self) -> &'static str {
            COMPONENT.name
        }
        fn image_keys(&self) -> &[Arc<str>] {
            &self.keys.keys
        }
        fn plan(&self, sample: Sample) -> Result<Step<'_>> {
            Ok(Step::exact(applied_to_headers(self, sample)?))
        }
        fn apply(&self, mut sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
            for time in 0..self.times {
                for (at, key) in self.keys.present(&sample)? {
                    let name = &self.names[time * self.keys.len() + at];
                    if sample.items.contains_key(name) {
                        bail!("the sample already has a key `{name}`");
                    }
                    if let Some(item) = sample.get(&key) {
                        let item = item.duplicate()?;
                        sample.set(name, item);
                    }
                }
            }
            Ok(vec![sample])
        }
    }
}

/// SelectItemsd: keep the given keys only.
pub mod select {
    use crate::component::Keys;
    use crate::contracts::{Sample, Step, Transform, TransformContext, applied_to_headers};
    use crate::error::Result;
    use crate::transforms::support::KeyList;

    component! {
        /// Keep only the given keys.
        pub static COMPONENT = dictionary "SelectItems" in "monai.transforms" / "utility.dictionary";

        pub struct SelectItemsArgs {
            /// Keys to keep.
            keys: Keys,
            /// Skip missing keys instead of raising an error.
            allow_missing_keys: bool = false,
        }

        build: SelectItems::new,
    }

    struct SelectItems {
        keys: KeyList,
    }

    impl SelectItems {
        fn new(args: SelectItemsArgs) -> Result<Self> {
            Ok(SelectItems { keys: KeyList::new(args.keys, args.allow_missing_keys) })
        }
    }

    impl Transform for SelectItems {
        fn name(&self) -> &'static str {
            COMPONENT.name
        }
        fn plan(&self, sample: Sample) -> Result<Step<'_>> {
            Ok(Step::exact(applied_to_headers(self, sample)?))
        }
        fn apply(&self, mut sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
            let mut kept = Sample::default();
            for (_, key) in self.keys.present(&sample)? {
                if let Some(item) = sample.items.shift_remove(&key) {
                    kept.items.insert(key, item);
                }
            }
            Ok(vec![kept])
        }
    }
}

/// DeleteItemsd: delete the given keys.
pub mod delete {
    use crate::bail;
    use crate::component::{Dict, Keys, OneOrMany, Value};
    use crate::contracts::{Item, Sample, Step, Transform, TransformContext, applied_to_headers};
    use crate::err;
    use crate::error::Result;
    use fancy_regex::Regex;

    component! {
        /// Delete items.
        pub static COMPONENT = dictionary "DeleteItems" in "monai.transforms" / "utility.dictionary";

        pub struct DeleteItemsArgs {
            /// Keys to delete, or regular expressions that match them.
            keys: Keys,
            /// Separator of the keys of nested dicts: `image_meta_dict.affine`.
            sep: String = ".",
            /// Interpret keys as regular expressions, one value or one per key.
            use_re: OneOrMany<bool> = false,
        }

        build: DeleteItems::new,
    }

    struct DeleteItems {
        /// Keys of the enclosing dicts, and the pattern of the keys to delete.
        paths: Vec<(Vec<String>, Pattern)>,
    }

    enum Pattern {
        Name(String),
        Regex(Box<Regex>),
    }

    impl Pattern {
        fn matches(&self, key: &str) -> bool {
            match self {
                Pattern::Name(name) => name == key,
                Pattern::Regex(regex) => regex.is_match(key).unwrap_or(false),
            }
        }
    }

    impl DeleteItems {
        fn new(args: DeleteItemsArgs) -> Result<Self> {
            if args.sep.is_empty() {
                bail!("`sep` is empty");
            }
            let regex = args.use_re.repeat(args.keys.0.len(), "use_re")?;
            let mut paths = Vec::new();
            for (key, regex) in args.keys.0.iter().zip(regex) {
                let mut outer: Vec<String> = key.split(&args.sep).map(str::to_owned).collect();
                let last = outer.pop().unwrap_or_default();
                let pattern = match regex {
                    true => Pattern::Regex(Box::new(
                        Regex::new(&last).map_err(|e| err!("`keys`: {last:?} is not a regular expression: {e}"))?,
                    )),
                    false => Pattern::Name(last),
                };
                paths.push((outer, pattern));
            }
            Ok(DeleteItems { paths })
        }
    }

    impl Transform for DeleteItems {
        fn name(&self) -> &'static str {
            COMPONENT.name
        }
        fn plan(&self, sample: Sample) -> Result<Step<'_>> {
            Ok(Step::exact(applied_to_headers(self, sample)?))
        }
        fn apply(&self, mut sample: Sample, _cx: &mut TransformContext) -> Result<Vec<Sample>> {
            for (outer, pattern) in &self.paths {
                let Some((first, inner)) = outer.split_first() else {
                    sample.items.retain(|key, _| !pattern.matches(key));
                    continue;
                };
                let Some(Item::Value(Value::Dict(dict))) = sample.get(first) else {
                    bail!("expected `{first}` to be a dict, to delete keys from it");
                };
                let mut dict: Dict = dict.clone();
                for key in inner {
                    dict = match dict.get(key) {
                        Some(Value::Dict(dict)) => dict,
                        _ => bail!("expected `{key}` in `{first}` to be a dict"),
                    };
                }
                dict.0.write().retain(|key, _| !key.as_str().is_some_and(|key| pattern.matches(key)));
            }
            Ok(vec![sample])
        }
    }
}
