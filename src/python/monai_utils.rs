//! `monai.utils`: enums of strings and small helpers (MONAI 1.6.1 monai.utils.enums, monai.utils.misc).
//!
//! A member of an enum of strings is its string here: it compares, hashes and prints like one in MONAI as well.

use super::array::Array;
use super::common::{acts, items, iterate, none, pure, reads, to};
use super::torch::Cudnn;
use crate::component::{Declared, Function, Value};
use crate::error::{Kind, Result};
use crate::{args, err};
use std::sync::atomic::{AtomicI64, Ordering};

macro_rules! enums {
    ($($name:ident { $($member:ident = $text:literal),* $(,)? })*) => {
        pub const CONSTANTS: super::common::Constants = &[$($(
            (concat!("monai.utils.", stringify!($name), ".", stringify!($member)), || $text.into()),
            (concat!("monai.utils.enums.", stringify!($name), ".", stringify!($member)), || $text.into()),
        )*)*];
    };
}

enums! {
    CommonKeys { IMAGE = "image", LABEL = "label", PRED = "pred", LOSS = "loss", METADATA = "metadata" }
    GanKeys { REALS = "reals", FAKES = "fakes", LATENTS = "latents", GLOSS = "g_loss", DLOSS = "d_loss" }
    GridSampleMode { NEAREST = "nearest", BILINEAR = "bilinear", BICUBIC = "bicubic" }
    GridSamplePadMode { ZEROS = "zeros", BORDER = "border", REFLECTION = "reflection" }
    InterpolateMode { NEAREST = "nearest", NEAREST_EXACT = "nearest-exact", LINEAR = "linear", BILINEAR = "bilinear", BICUBIC = "bicubic", TRILINEAR = "trilinear", AREA = "area" }
    NumpyPadMode { CONSTANT = "constant", EDGE = "edge", LINEAR_RAMP = "linear_ramp", MAXIMUM = "maximum", MEAN = "mean", MEDIAN = "median", MINIMUM = "minimum", REFLECT = "reflect", SYMMETRIC = "symmetric", WRAP = "wrap", EMPTY = "empty" }
    PytorchPadMode { CONSTANT = "constant", REFLECT = "reflect", REPLICATE = "replicate", CIRCULAR = "circular" }
    NdimageMode { REFLECT = "reflect", GRID_MIRROR = "grid-mirror", CONSTANT = "constant", GRID_CONSTANT = "grid-constant", NEAREST = "nearest", MIRROR = "mirror", GRID_WRAP = "grid-wrap", WRAP = "wrap" }
    SplineMode { ZERO = "0", ONE = "1", TWO = "2", THREE = "3", FOUR = "4", FIVE = "5" }
    BlendMode { CONSTANT = "constant", GAUSSIAN = "gaussian" }
    UpsampleMode { DECONV = "deconv", DECONVGROUP = "deconvgroup", NONTRAINABLE = "nontrainable", PIXELSHUFFLE = "pixelshuffle" }
    DownsampleMode { CONV = "conv", CONVGROUP = "convgroup", PIXELUNSHUFFLE = "pixelunshuffle", MAXPOOL = "maxpool", AVGPOOL = "avgpool" }
    Average { MACRO = "macro", WEIGHTED = "weighted", MICRO = "micro", NONE = "none" }
    MetricReduction { NONE = "none", MEAN = "mean", SUM = "sum", MEAN_BATCH = "mean_batch", SUM_BATCH = "sum_batch", MEAN_CHANNEL = "mean_channel", SUM_CHANNEL = "sum_channel" }
    LossReduction { NONE = "none", MEAN = "mean", SUM = "sum" }
    DiceCEReduction { MEAN = "mean", SUM = "sum" }
    Weight { SQUARE = "square", SIMPLE = "simple", UNIFORM = "uniform" }
    ChannelMatching { PAD = "pad", PROJECT = "project" }
    SkipMode { CAT = "cat", ADD = "add", MUL = "mul" }
    Method { SYMMETRIC = "symmetric", END = "end" }
    ForwardMode { TRAIN = "train", EVAL = "eval" }
    BoxModeName { XYXY = "xyxy", XYZXYZ = "xyzxyz", XXYY = "xxyy", XXYYZZ = "xxyyzz", XYXYZZ = "xyxyzz", XYWH = "xywh", XYZWHD = "xyzwhd", CCWH = "ccwh", CCCWHD = "cccwhd" }
}

pub const FUNCTIONS: &[Function] = &[
    acts("monai.utils.set_determinism", set_determinism),
    acts("monai.utils.misc.set_determinism", set_determinism),
    reads("monai.utils.get_seed", |args, _| {
        none("monai.utils.get_seed", args)?;
        Ok(seed().map_or(Value::None, |seed| Value::Int(i64::from(seed))))
    }),
    pure("monai.utils.first", first),
    pure("monai.utils.misc.first", first),
    pure("monai.utils.ensure_tuple", |args, call| {
        let args = EnsureTuple::parse("monai.utils.ensure_tuple", args)?;
        if args.wrap_array && args.vals.downcast::<Array>().is_some() {
            return Ok(Value::tuple([args.vals]));
        }
        let parts = sequence(&args.vals)?;
        call.charge(parts.as_ref().map_or(1, Vec::len))?;
        Ok(Value::tuple(parts.unwrap_or_else(|| vec![args.vals])))
    }),
    pure("monai.utils.ensure_tuple_rep", |args, call| {
        let [value, dim] = args.expect("monai.utils.ensure_tuple_rep", ["tup", "dim"])?;
        let dim: usize = to("monai.utils.ensure_tuple_rep: argument `dim`", &dim)?;
        call.charge(dim)?;
        let Some(parts) = sequence(&value)? else { return Ok(Value::tuple(vec![value; dim])) };
        if parts.len() == dim {
            return Ok(Value::tuple(parts));
        }
        Err(err!("monai.utils.ensure_tuple_rep: expected one value or {dim}, found {}", parts.len()).kind(Kind::Config))
    }),
    pure("monai.utils.ensure_tuple_size", |args, call| {
        let args = EnsureSize::parse("monai.utils.ensure_tuple_size", args)?;
        call.charge(args.dim)?;
        let mut parts = sequence(&args.vals)?.unwrap_or_else(|| vec![args.vals.clone()]);
        let missing = args.dim.saturating_sub(parts.len());
        parts.truncate(args.dim);
        let at = if args.pad_from_start { 0 } else { parts.len() };
        parts.splice(at..at, vec![args.pad_val; missing]);
        Ok(Value::tuple(parts))
    }),
    pure("monai.utils.issequenceiterable", |args, _| {
        let [value] = args.expect("monai.utils.issequenceiterable", ["obj"])?;
        Ok(sequence(&value)?.is_some().into())
    }),
];

args! {
    struct SetDeterminism {
        seed: Option<i64> = i64::from(i32::MAX),
        use_deterministic_algorithms: Option<bool> = (),
        additional_settings: Value = (),
    }
}
args! {
    struct First {
        iterable: Value,
        default: Value = (),
    }
}
args! {
    struct EnsureTuple {
        vals: Value,
        wrap_array: bool = false,
    }
}
args! {
    struct EnsureSize {
        vals: Value,
        dim: usize,
        pad_val: Value = 0,
        pad_from_start: bool = false,
    }
}

/// The seed that the config set, -1 for none: one for the process, as MONAI keeps it.
static SEED: AtomicI64 = AtomicI64::new(-1);

/// What the config's last `set_determinism` asked for.
pub fn seed() -> Option<u32> {
    u32::try_from(SEED.load(Ordering::Relaxed)).ok()
}

/// Seeds torch's generators and makes cuDNN deterministic; what draws random numbers here asks [`seed`].
fn set_determinism(args: crate::component::Args, call: &mut crate::component::Call) -> Result<Value> {
    let args = SetDeterminism::parse("monai.utils.set_determinism", args)?;
    let seed = args.seed.map(|seed| seed.rem_euclid(1 << 32));
    if let Some(seed) = seed {
        tch::manual_seed(seed);
        if !args.additional_settings.is_none() {
            for setting in sequence(&args.additional_settings)?.unwrap_or_else(|| vec![args.additional_settings.clone()]) {
                setting.call(crate::component::Args::positional([seed.into()]), call)?;
            }
        }
    }
    SEED.store(seed.unwrap_or(-1), Ordering::Relaxed);
    Cudnn::set_deterministic(seed.is_some());
    Ok(Value::None)
}

fn first(args: crate::component::Args, call: &mut crate::component::Call) -> Result<Value> {
    let args = First::parse("monai.utils.first", args)?;
    Ok(iterate("monai.utils.first", &args.iterable, call)?.into_iter().next().unwrap_or(args.default))
}

/// The items of what MONAI takes for a sequence: anything iterable but text, dicts' keys included.
fn sequence(value: &Value) -> Result<Option<Vec<Value>>> {
    match value {
        Value::Str(_) => Ok(None),
        Value::Object(object) if object.length().is_none() => Ok(None),
        value => items(value).transpose(),
    }
}
