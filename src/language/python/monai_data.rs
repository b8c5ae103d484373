//! `monai.data`: datalists and their partitions (monai.data.decathlon_datalist, monai.data.utils, MONAI 1.6.1).

use super::common::{PathText, charge_text, one, pure, reads};
use super::io::{Encoding, read_text};
use super::json;
use super::os_path::{join, normpath, split};
use crate::bundle::expr::values::iter::collect;
use crate::component::{Args, BuildContext, Declared, Dict, Function, Key, Value};
use crate::error::{Kind, Result, did_you_mean};
use crate::random::RandomState;
use crate::{args, err};
use std::path::Path;

pub const FUNCTIONS: &[Function] = &[
    reads("monai.data.load_decathlon_datalist", load_decathlon_datalist),
    pure("monai.data.partition_dataset", partition_dataset),
    pure("monai.data.utils.partition_dataset", partition_dataset),
    pure("monai.data.utils.no_collation", |args, _| one("monai.data.utils.no_collation", "x", args)),
    pure("monai.data.no_collation", |args, _| one("monai.data.no_collation", "x", args)),
    collate("monai.data.utils.list_data_collate"),
    collate("monai.data.list_data_collate"),
    collate("monai.data.utils.pad_list_data_collate"),
    collate("monai.data.pad_list_data_collate"),
    collate("monai.data.utils.decollate_batch"),
    collate("monai.data.decollate_batch"),
];

/// A collate function, which configs pass to a loader. The loader identifies it by its path and implements it itself.
const fn collate(path: &'static str) -> Function {
    pure(path, |_, _| {
        Err(err!("monai.data: collate functions can be passed to a loader, but not called in expressions")
            .kind(Kind::Unsupported))
    })
}

args! {
    struct Datalist {
        data_list_file_path: PathText,
        is_segmentation: bool = true,
        data_list_key: String = "training",
        base_dir: Option<PathText> = (),
    }
}

fn load_decathlon_datalist(args: Args, call: &mut BuildContext) -> Result<Value> {
    const NAME: &str = "monai.data.load_decathlon_datalist";
    let args = Datalist::parse(NAME, args)?;
    let file = &args.data_list_file_path.0;
    let bad = |message: String| err!("{NAME}: {message}").file(file).kind(Kind::Config);
    if !Path::new(file).is_file() {
        return Err(bad("the datalist does not exist".into()));
    }
    let text = read_text(NAME, file, Encoding::Utf8, call)?;
    let Value::Dict(content) = json::parse(NAME, &text, call).map_err(|e| e.file(file))? else {
        return Err(bad("expected an object with lists of cases".into()));
    };
    let Some(mut cases) = content.get(&args.data_list_key) else {
        let keys: Vec<String> = content.items().iter().map(|(key, _)| key.to_value().to_string()).collect();
        let error = bad(format!("unknown list '{}' (the file has {})", args.data_list_key, keys.join(", ")));
        return Err(error.suggest(did_you_mean(&args.data_list_key, keys.iter().map(String::as_str))));
    };
    let plain = cases.as_sequence().ok_or_else(|| bad(format!("'{}' is not a list", args.data_list_key)))?;
    // In datasets of the Medical Segmentation Decathlon, "test" is a list of image names.
    if args.data_list_key == "test" && !matches!(plain.first(), Some(Value::Dict(_)) | None) {
        cases = Value::list(plain.into_iter().map(|image| Value::Dict(Dict::new([(Key::str("image"), image)]))));
    }
    let base = match args.base_dir {
        Some(base) => base.0,
        None => split(file).0.to_owned(),
    };
    for case in cases.as_sequence().unwrap_or_default() {
        let Value::Dict(case) = case else {
            return Err(bad(format!("expected every case to be an object, found {case:?}")));
        };
        for (key, value) in case.items() {
            // Images and labels are always paths; other values are paths if the file exists.
            let sure = key.as_str().is_some_and(|key| key == "image" || args.is_segmentation && key == "label");
            let full = complete(&base, &value, sure, call)?;
            case.0.write().insert(key, full);
        }
    }
    Ok(cases)
}

/// Prepend the folder `base` to `value`, if it is a path or a list of paths.
fn complete(base: &str, value: &Value, sure: bool, call: &mut BuildContext) -> Result<Value> {
    let path = |text: &str, call: &mut BuildContext| {
        charge_text(call, base.len() + text.len())?;
        let full = normpath(&join(base, text));
        Ok(Value::from(if sure || Path::new(&full).exists() { full } else { text.to_owned() }))
    };
    match value {
        Value::Str(text) => path(text, call),
        Value::List(list) => {
            let parts = list.items();
            let texts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            match texts {
                Some(texts) => {
                    Ok(Value::list(texts.into_iter().map(|text| path(text, call)).collect::<Result<Vec<_>>>()?))
                }
                None => Ok(value.clone()),
            }
        }
        other => Ok(other.clone()),
    }
}

args! {
    struct Partition {
        data: Value,
        ratios: Option<Vec<f64>> = (),
        num_partitions: Option<usize> = (),
        shuffle: bool = false,
        seed: i64 = 0,
        drop_last: bool = false,
        even_divisible: bool = false,
    }
}

fn partition_dataset(args: Args, call: &mut BuildContext) -> Result<Value> {
    const NAME: &str = "monai.data.partition_dataset";
    let args = Partition::parse(NAME, args)?;
    let data = collect(&args.data, call).map_err(|error| error.context(format!("{NAME}: argument `data`")))?;
    call.charge(data.len().saturating_mul(2))?;
    let bad = |message: String| err!("{NAME}: {message}").kind(Kind::Config);
    let n = data.len();
    let mut indices: Vec<usize> = (0..n).collect();
    if args.shuffle {
        let seed = u32::try_from(args.seed)
            .map_err(|_| bad(format!("the seed must be between 0 and 2^32 - 1, found {}", args.seed)))?;
        RandomState::new(seed).shuffle(&mut indices);
    }
    let pick = |indices: &mut dyn Iterator<Item = usize>| Value::list(indices.map(|i| data[i].clone()));

    if let Some(ratios) = args.ratios.filter(|ratios| !ratios.is_empty()) {
        let sum: f64 = ratios.iter().sum();
        if ratios.iter().any(|r| *r < 0.0) || sum <= 0.0 || !sum.is_finite() {
            return Err(bad(format!("expected ratios of at least 0 with a positive sum, found {ratios:?}")));
        }
        let mut start = 0;
        return Ok(Value::list(ratios.iter().map(|ratio| {
            let end = (start + (ratio / sum * n as f64 + 0.5) as usize).min(n);
            let part = pick(&mut indices[start..end].iter().copied());
            start = end;
            part
        })));
    }
    let Some(parts) = args.num_partitions.filter(|parts| *parts > 0) else {
        return Err(bad("expected `ratios` or `num_partitions`".into()));
    };
    if args.drop_last && !args.even_divisible {
        return Err(bad("`drop_last` only works with `even_divisible`".into()));
    }
    if n < parts {
        return Err(bad(format!("cannot split {n} items into {parts} partitions")));
    }
    let each = if args.drop_last && n % parts != 0 { (n - parts).div_ceil(parts) } else { n.div_ceil(parts) };
    let total = if args.even_divisible { each * parts } else { n };
    if total > n {
        indices.extend_from_within(..total - n);
    } else {
        indices.truncate(total);
    }
    Ok(Value::list((0..parts).map(|part| pick(&mut indices.iter().copied().skip(part).step_by(parts)))))
}
