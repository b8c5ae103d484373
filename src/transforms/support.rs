//! Code shared by the transforms: iteration over keys, and types of arguments.

use crate::component::{Args, BuildContext, FromValue, Keys, OneOrMany, Value};
use crate::contracts::{Item, Sample};
use crate::error::Result;
use crate::image::{DType, Interpolation, Layout, PadMode, Padding, Volume, Voxels};
use crate::python::array::Array;
use crate::{bail, err};
use std::sync::Arc;

/// The keys of a transform, and whether missing ones are skipped.
pub struct KeyList {
    /// Keys in the order of the config.
    pub keys: Vec<Arc<str>>,
    /// Skip missing keys instead of returning an error.
    pub allow_missing: bool,
}

impl KeyList {
    /// Creates a list from the arguments `keys` and `allow_missing_keys`.
    pub fn new(keys: Keys, allow_missing: bool) -> Self {
        KeyList { keys: keys.0, allow_missing }
    }
    /// Number of keys, present or not.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// The keys that are present in the sample, with their position in the list.
    ///
    /// # Errors
    /// A key is missing and `allow_missing_keys` is false.
    pub fn present(&self, sample: &Sample) -> Result<Vec<(usize, Arc<str>)>> {
        let mut out = Vec::with_capacity(self.keys.len());
        for (at, key) in self.keys.iter().enumerate() {
            if sample.items.contains_key(key) {
                out.push((at, key.clone()));
            } else if !self.allow_missing {
                return Err(sample.missing(key).hint("`allow_missing_keys: true` skips missing keys"));
            }
        }
        Ok(out)
    }
    /// Checks that the images under the keys are on one grid, so that the same box can be cropped from all of them.
    /// Sizes may differ by one voxel, since resampling grids that differ by rounding has this effect.
    ///
    /// # Errors
    /// Sizes that differ by more than one voxel.
    pub fn one_grid(&self, sample: &Sample) -> Result<()> {
        let present = self.present(sample)?;
        let Some((_, first)) = present.first() else { return Ok(()) };
        let shape = sample.image(first)?.layout.spatial();
        for (_, key) in &present[1..] {
            let other = sample.image(key)?;
            let own = other.layout.spatial();
            if (0..3).any(|axis| own[axis].abs_diff(shape[axis]) > 1) {
                return Err(err!("`{key}` has {own:?} voxels where `{first}` has {shape:?}")
                    .file(&other.header.path)
                    .hint("image and label must be on the same grid"));
            }
        }
        Ok(())
    }
    /// Replaces the image under each key by the result of `work`, which takes ownership so that it can reuse buffers.
    pub fn images(
        &self,
        mut sample: Sample,
        mut work: impl FnMut(Volume, usize) -> Result<Volume>,
    ) -> Result<Vec<Sample>> {
        for (at, key) in self.present(&sample)? {
            let volume = take_image(&mut sample, &key)?;
            let volume = work(volume, at).map_err(|e| e.context(format_args!("`{key}`")))?;
            sample.set(&key, Item::Image(volume));
        }
        Ok(vec![sample])
    }
}

/// Moves the image under `key` out of the sample; the key keeps its position.
pub fn take_image(sample: &mut Sample, key: &str) -> Result<Volume> {
    sample.image(key)?;
    match sample.items.get_mut(key).map(|item| std::mem::replace(item, Item::Value(Value::None))) {
        Some(Item::Image(volume)) => Ok(volume),
        _ => Err(sample.missing(key)),
    }
}

/// Expands an argument to one value per spatial axis.
pub fn per_axis<T: Copy>(values: &OneOrMany<T>, name: &str) -> Result<[T; 3]> {
    match values {
        OneOrMany::One(value) => Ok([*value; 3]),
        OneOrMany::Many(values) => match values.as_slice() {
            [x, y, z] => Ok([*x, *y, *z]),
            values => Err(err!("`{name}` has {} values, expected 1 or 3 (one per axis)", values.len())),
        },
    }
}

/// The requested size in voxels, where non-positive entries are replaced by the image's size (MONAI's
/// `fall_back_tuple`).
pub fn or_image(size: [i64; 3], image: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| usize::try_from(size[axis]).ok().filter(|&n| n > 0).unwrap_or(image[axis]))
}

/// The text of a string, or of an object such as a `torch.dtype` or an enum member.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Object(object) => Some(object.to_str()),
        Value::Function(function) => Some(function.path.to_owned()),
        Value::Component(component) => Some(component.path.to_owned()),
        _ => None,
    }
}

/// Argument that selects a data type: "float32", `torch.float32`, `numpy.int16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DTypeArg(pub DType);

impl FromValue for DTypeArg {
    fn expected() -> String {
        "dtype (float32, float64, or an integer type)".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(DTypeArg(match dtype_name(value)?.as_str() {
            "uint8" | "bool" | "bool_" => DType::U8,
            "int8" => DType::I8,
            "uint16" => DType::U16,
            "int16" | "short" => DType::I16,
            "uint32" => DType::U32,
            "int32" => DType::I32,
            "uint64" => DType::U64,
            "int64" | "long" | "int" => DType::I64,
            "float32" | "float" => DType::F32,
            "float64" | "double" => DType::F64,
            _ => return None,
        }))
    }
}

/// The name of a data type in "<class 'numpy.float32'>", "torch.float32", "np.float32".
fn dtype_name(value: &Value) -> Option<String> {
    let text = text(value)?;
    let name = text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).rsplit(['.', ' ', '\'']).next();
    name.map(str::to_owned)
}

/// Like [`DTypeArg`], where bool is a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DTypeOrBool {
    /// 0 and 1, stored as uint8.
    Bool,
    /// A type of numbers.
    Number(DType),
}

impl FromValue for DTypeOrBool {
    fn expected() -> String {
        "dtype (float32, float64, bool, or an integer type)".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match dtype_name(value)?.as_str() {
            "bool" | "bool_" => Some(DTypeOrBool::Bool),
            _ => DTypeArg::from_value(value).map(|DTypeArg(dtype)| DTypeOrBool::Number(dtype)),
        }
    }
}

/// Argument that selects a DICOM series by name; a number is converted to its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesName(pub String);

impl FromValue for SeriesName {
    fn expected() -> String {
        "str or int".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(SeriesName(number.to_string())),
            other => other.as_str().map(|name| SeriesName(name.to_owned())),
        }
    }
}

/// MONAI's `GridSampleMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeArg(pub Interpolation);

impl FromValue for ModeArg {
    fn expected() -> String {
        "\"bilinear\" or \"nearest\" (spline orders and bicubic are not supported)".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match last_word(&text(value)?).as_str() {
            "bilinear" => Some(ModeArg(Interpolation::Linear)),
            "nearest" => Some(ModeArg(Interpolation::Nearest)),
            _ => None,
        }
    }
}

/// MONAI's `GridSamplePadMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaddingArg(pub Padding);

impl FromValue for PaddingArg {
    fn expected() -> String {
        "\"border\", \"zeros\" or \"reflection\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match last_word(&text(value)?).as_str() {
            "border" => Some(PaddingArg(Padding::Border)),
            "zeros" => Some(PaddingArg(Padding::Zeros)),
            "reflection" => Some(PaddingArg(Padding::Reflection)),
            _ => None,
        }
    }
}

/// Pad mode, named as in NumPy or torch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PadModeArg(pub PadMode);

impl FromValue for PadModeArg {
    fn expected() -> String {
        "\"constant\", \"edge\", \"replicate\", \"reflect\", \"symmetric\", \"wrap\" or \"circular\" (NumPy's statistical modes are not supported)"
            .into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        Some(PadModeArg(match last_word(&text(value)?).as_str() {
            "constant" => PadMode::Constant(0.0),
            "edge" | "replicate" => PadMode::Edge,
            "reflect" => PadMode::Reflect,
            "symmetric" => PadMode::Symmetric,
            "wrap" | "circular" => PadMode::Wrap,
            _ => return None,
        }))
    }
}

/// MONAI's `Method`: pad on both sides, or at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodArg {
    /// Pad both sides; an odd voxel is added at the end.
    Symmetric,
    /// Pad the end of each axis.
    End,
}

impl FromValue for MethodArg {
    fn expected() -> String {
        "\"symmetric\" or \"end\"".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        match last_word(&text(value)?).as_str() {
            "symmetric" => Some(MethodArg::Symmetric),
            "end" => Some(MethodArg::End),
            _ => None,
        }
    }
}

/// The part after the last dot in lower case: "GridSampleMode.BILINEAR" is read as "bilinear".
fn last_word(text: &str) -> String {
    let short = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if text.contains('.') { short.rsplit('.').next().unwrap_or(short).to_ascii_lowercase() } else { text.to_owned() }
}

/// The pad mode for each key, with the constant from `value` or NumPy's `constant_values`.
pub fn pad_modes(
    mode: &OneOrMany<PadModeArg>,
    keys: usize,
    value: Option<f64>,
    constant_values: Option<f64>,
) -> Result<Vec<PadMode>> {
    let constant = value.or(constant_values);
    let modes = mode.repeat(keys, "mode")?;
    modes
        .into_iter()
        .map(|PadModeArg(mode)| match (mode, constant) {
            (PadMode::Constant(_), Some(value)) => Ok(PadMode::Constant(value)),
            (mode, None) => Ok(mode),
            (_, Some(_)) => bail!("`value` has an effect only with mode \"constant\""),
        })
        .collect()
}

/// Converts the float result of an intensity transform to `dtype` if that is an integer type.
pub fn finish(volume: Volume, dtype: Option<DTypeArg>) -> Result<Volume> {
    match dtype {
        Some(DTypeArg(dtype)) if !dtype.is_float() => volume.cast(dtype),
        _ => Ok(volume),
    }
}

/// Shape inference for a transform that computes all values in f32; see [`finish`].
pub fn in_f32(keys: &KeyList, sample: Sample, dtype: Option<DTypeArg>) -> Result<Sample> {
    let planned = |volume, _| finish(Volume { voxels: Voxels::empty(DType::F32), ..volume }, dtype);
    Ok(keys.images(sample, planned)?.pop().unwrap_or_default())
}

/// Shape inference for a transform that changes the size [X, Y, Z] of images.
pub fn resized(keys: &KeyList, sample: Sample, size: impl Fn([usize; 3]) -> [usize; 3]) -> Result<Sample> {
    let planned = |volume: Volume, _| {
        let [x, y, z] = size(volume.layout.spatial());
        Ok(Volume { layout: Layout::contiguous([volume.channels(), x, y, z]), ..volume })
    };
    Ok(keys.images(sample, planned)?.pop().unwrap_or_default())
}

/// Converts the image under each key to the data type that `dtype(position of the key)` returns. Predictions and other
/// values have no stored data type and are left unchanged.
pub fn cast_items(keys: &KeyList, mut sample: Sample, dtype: impl Fn(usize) -> Option<DType>) -> Result<Vec<Sample>> {
    for (at, key) in keys.present(&sample)? {
        if let (Some(dtype), Some(Item::Image(_))) = (dtype(at), sample.get(&key)) {
            let volume = take_image(&mut sample, &key)?.cast(dtype).map_err(|e| e.context(format_args!("`{key}`")))?;
            sample.set(&key, Item::Image(volume));
        }
    }
    Ok(vec![sample])
}

/// Result of a config's function: voxels and their shape, or a value that is not an array.
pub type Called = Result<(Voxels, Vec<usize>), Value>;

/// Calls a config's function on an image, which it receives as a float32 tensor of `shape` (that of the layout, except
/// for axes of length 1). Returned voxels are in C order.
pub fn called_on(function: &Value, volume: Volume, shape: &[usize]) -> Result<Called> {
    let volume = volume.into_f32()?;
    // Operations on images cost more steps than those on a config's values: allow some hundred of them.
    let mut call = BuildContext::with_limits(10_000_000 + 16 * volume.layout.len() as u64, 200);
    let array = Array::from_volume(&volume, &mut call)?.shaped(shape, &mut call)?;
    let result = function.call(Args::positional([Value::object(array)]), &mut call)?;
    Ok(result.downcast::<Array>().map(|array| array.to_voxels()).ok_or(result))
}
