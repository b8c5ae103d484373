//! MapLabelValued: replace label values by others.
//!
//! Source: monai/transforms/utility/dictionary.py and array.py of MONAI 1.6.1.

use super::label_maps::{ChangeLabels, OnLabels};
use super::support::{DTypeOrBool, KeyList};
use crate::case_context::CaseContext;
use crate::component::Keys;
use crate::error::Result;
use crate::image::components::class_of;
use crate::image::{CHUNK, DType, Element, Volume, Voxels, filled};
use crate::prediction::LabelVolume;
use crate::{bail, each_voxels};
use rayon::prelude::*;
use std::collections::HashMap;

component! {
    /// Map label values to others; values that are not listed stay as they are.
    pub static COMPONENT = dictionary "MapLabelValue" in "monai.transforms" / "utility.dictionary";

    pub struct MapLabelValueArgs {
        /// Keys of the label maps or predictions.
        keys: Keys,
        /// Values to replace.
        orig_labels: Vec<f64>,
        /// Value that replaces each of `orig_labels`.
        target_labels: Vec<f64>,
        /// Data type of the result. An integer type keeps the low bits of values that it does not represent: -1 becomes
        /// 255 in uint8. bool makes 1 of all values but 0.
        dtype: DTypeOrBool = "float32",
        /// Skip missing keys instead of raising an error.
        allow_missing_keys: bool = false,
    }

    differs: [
        "with a float `dtype`, labels of 8 or 16 bits are stored as such if all new values are",
        "bool is stored as uint8",
    ],
    build: MapLabelValue::new,
}

struct MapLabelValue {
    /// Old and new values.
    pairs: Vec<(f64, f64)>,
    dtype: DType,
    /// Whether `dtype` is bool.
    bool: bool,
}

impl MapLabelValue {
    fn new(args: MapLabelValueArgs) -> Result<OnLabels<Self>> {
        let (from, to) = (args.orig_labels.len(), args.target_labels.len());
        if from != to {
            bail!("`orig_labels` has {from} values and `target_labels` {to}, expected as many");
        }
        let (dtype, bool) = match args.dtype {
            DTypeOrBool::Bool => (DType::U8, true),
            DTypeOrBool::Number(dtype) => (dtype, false),
        };
        let bad = args.target_labels.iter().find(|target| !bool && !represents(target.trunc(), dtype));
        if let Some(bad) = bad {
            bail!("`target_labels` contains {bad}, which is not a value of {}", dtype.name());
        }
        // Of several targets of a value, the last counts that differs from it.
        let pairs = args.orig_labels.into_iter().zip(args.target_labels).filter(|(from, to)| from != to);
        let stored = |to: f64| if bool { f64::from(to != 0.0) } else { to };
        let change = MapLabelValue { pairs: pairs.map(|(from, to)| (from, stored(to))).collect(), dtype, bool };
        Ok(OnLabels { keys: KeyList::new(args.keys, args.allow_missing_keys), change })
    }

    /// New values by the bits of the old ones (see [`class_of`]). NumPy compares with voxels of float32 in float32.
    fn targets(&self, voxels: DType) -> HashMap<u64, f64> {
        let rounded = |from: f64| if voxels == DType::F32 { f64::from(from as f32) } else { from };
        self.pairs.iter().filter_map(|&(from, to)| Some((class_of(rounded(from))?, to))).collect()
    }

    fn mapped(&self, volume: Volume, case: &CaseContext) -> Result<Volume> {
        let dtype = self.stored(volume.voxels.dtype());
        let bytes = (volume.voxels.len() * dtype.size_bytes()) as u64;
        case.reserve(bytes, || format!("{} voxels of {}", volume.voxels.len(), dtype.name()))?;
        let targets = self.targets(volume.voxels.dtype());
        let voxels = each_voxels!(&volume.voxels, values => match dtype {
            DType::U8 if self.bool => converted(values, &targets, |x| u8::from(x != 0.0)),
            DType::U8 => converted(values, &targets, |x| x as i64 as u8),
            DType::I8 => converted(values, &targets, |x| x as i64 as i8),
            DType::U16 => converted(values, &targets, |x| x as i64 as u16),
            DType::I16 => converted(values, &targets, |x| x as i64 as i16),
            DType::U32 => converted(values, &targets, |x| x as i64 as u32),
            DType::I32 => converted(values, &targets, |x| x as i64 as i32),
            DType::U64 => converted(values, &targets, |x| x as i128 as u64),
            DType::I64 => converted(values, &targets, |x| x as i128 as i64),
            DType::F32 => converted(values, &targets, |x| x as f32),
            DType::F64 => converted(values, &targets, |x| x),
        })?;
        Ok(Volume { voxels, integer_type: (!self.dtype.is_float()).then_some(dtype), ..volume })
    }

    /// Data type of the result for values of `from`: floats are stored as integers where these represent them.
    fn stored(&self, from: DType) -> DType {
        let own = match from {
            DType::U8 => Some(u8::MAX.into()),
            DType::U16 => Some(u16::MAX.into()),
            _ => None,
        };
        let Some(own) = own.filter(|_| self.dtype.is_float()) else { return self.dtype };
        let largest = |dtype| self.pairs.iter().all(|(_, to)| represents(*to, dtype)) && represents(own, dtype);
        [DType::U8, DType::U16].into_iter().find(|dtype| largest(*dtype)).unwrap_or(self.dtype)
    }
}

/// Maps the values; those without a target are converted by `unchanged`.
fn converted<A: Element, B: Element>(
    from: &[A],
    targets: &HashMap<u64, f64>,
    unchanged: impl Fn(f64) -> B + Sync,
) -> Result<Voxels> {
    let mapped = |label: f64| {
        let target = class_of(label).and_then(|class| targets.get(&class));
        target.map_or_else(|| unchanged(label), |target| B::from_f64(*target))
    };
    let work = |(out, from): (&mut [B], &[A])| {
        let mut last: Option<(A, B)> = None;
        for (out, label) in out.iter_mut().zip(from) {
            *out = match last {
                Some((before, target)) if before == *label => target,
                _ => mapped(label.to_f64()),
            };
            last = Some((*label, *out));
        }
    };
    Ok(B::wrap(filled(from.len(), |out| out.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(work))?))
}

/// Whether a value of `dtype` equals `x`.
fn represents(x: f64, dtype: DType) -> bool {
    match dtype {
        DType::U8 => f64::from(x as u8) == x,
        DType::I8 => f64::from(x as i8) == x,
        DType::U16 => f64::from(x as u16) == x,
        DType::I16 => f64::from(x as i16) == x,
        DType::U32 => f64::from(x as u32) == x,
        DType::I32 => f64::from(x as i32) == x,
        DType::U64 => x as u64 as f64 == x,
        DType::I64 => x as i64 as f64 == x,
        DType::F32 | DType::F64 => true,
    }
}

impl ChangeLabels for MapLabelValue {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn change(&self, labels: LabelVolume, case: &CaseContext) -> Result<LabelVolume> {
        Ok(LabelVolume { volume: self.mapped(labels.into_channels(case)?, case)?, onehot: None })
    }
    fn planned(&self, volume: Volume) -> Volume {
        let dtype = self.stored(volume.voxels.dtype());
        Volume { voxels: Voxels::empty(dtype), integer_type: (!self.dtype.is_float()).then_some(dtype), ..volume }
    }
}
