//! Arrays and tensors in expressions, as a subset of NumPy and torch.
//!
//! One type implements both: values are stored as f64 and rounded or wrapped to the array's data type after each
//! operation, and [`Flavor`] selects default types and promotion rules. Intended for indices, weights and single
//! images in expressions; networks use tensors of `tch`. The methods are declared in one table in `methods`.
//!
//! Differences:
//! - 64-bit integers are exact up to 2^53, and sums are computed in f64 and rounded once;
//! - NumPy scalars are arrays without axes;
//! - methods that only NumPy or torch has are available for both;
//! - arrays cannot be modified in place, and are printed as nested lists with their type.

mod create;
mod dtype;
mod index;
mod methods;
mod ops;
mod reduce;
mod shape;

pub(crate) use create::arange;
pub use create::joined;
pub(crate) use dtype::promote;
pub use dtype::{CONSTANTS, DTypeObject, Flavor, Type};
pub(crate) use methods::function;
pub(crate) use ops::{broadcast_shape, result_type};

use crate::component::{Args, BuildContext, FromArc, Object, Value};
use crate::error::{Kind, Result};
use crate::image::{Volume, Voxels};
use crate::{each_voxels, err};
use ndarray::{ArcArray, ArrayD, IxDyn};
use std::hash::Hasher as _;

/// Maximum number of elements of an array (2 GiB).
const LIMIT: usize = 1 << 28;

/// An array or tensor; clones share its values.
#[derive(Debug, Clone)]
pub struct Array {
    pub(crate) data: ArcArray<f64, IxDyn>,
    /// Data type of the elements.
    pub ty: Type,
    /// Whether this is a NumPy array or a torch tensor.
    pub flavor: Flavor,
}

/// Charge the creation of an array of `n` elements; more than 2^28 elements are an error.
pub fn charge(call: &mut BuildContext, n: usize) -> Result<()> {
    if n > LIMIT {
        return Err(err!("an array of {n} elements is too large for an expression (limit {LIMIT})").kind(Kind::Config));
    }
    // Elements are cheaper than values of a list or steps of the interpreter.
    call.charge(n / 16 + 1)
}

/// Number of elements of a shape.
///
/// # Errors
/// The limit is exceeded.
pub fn elements(shape: &[usize]) -> Result<usize> {
    shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).filter(|n| *n <= LIMIT).ok_or_else(|| {
        err!("an array of shape {shape:?} is too large for an expression (limit {LIMIT} elements)").kind(Kind::Config)
    })
}

impl Array {
    /// Creates an array; values are rounded or wrapped to `ty`.
    pub(crate) fn new(mut data: ArrayD<f64>, ty: Type, flavor: Flavor) -> Array {
        if ty != Type::F64 {
            data.mapv_inplace(|x| ty.hold(x));
        }
        Array { data: data.into_shared(), ty, flavor }
    }
    pub(crate) fn scalar(x: f64, ty: Type, flavor: Flavor) -> Array {
        Array::new(ArrayD::from_elem(IxDyn(&[]), x), ty, flavor)
    }
    pub(crate) fn filled(shape: &[usize], x: f64, ty: Type, flavor: Flavor, call: &mut BuildContext) -> Result<Array> {
        charge(call, elements(shape)?)?;
        Ok(Array::new(ArrayD::from_elem(IxDyn(shape), x), ty, flavor))
    }
    /// Creates an array from `values` in C order, which are rounded or wrapped to `ty`.
    pub fn from_values(shape: &[usize], values: Vec<f64>, ty: Type, flavor: Flavor) -> Result<Array> {
        let found = values.len();
        let data = ArrayD::from_shape_vec(IxDyn(shape), values)
            .map_err(|_| err!("{found} values do not make an array of shape {shape:?}"))?;
        Ok(Array::new(data, ty, flavor))
    }
    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        self.data.shape()
    }
    fn torch(&self) -> bool {
        self.flavor == Flavor::Torch
    }
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
    pub(crate) fn ndim(&self) -> usize {
        self.data.ndim()
    }
    /// Convert to another data type.
    pub fn cast(&self, ty: Type, call: &mut BuildContext) -> Result<Array> {
        if ty == self.ty {
            return Ok(self.clone());
        }
        charge(call, self.len())?;
        Ok(Array::new(self.data.to_owned(), ty, self.flavor))
    }
    pub(crate) fn with(&self, data: ArcArray<f64, IxDyn>) -> Array {
        Array { data, ty: self.ty, flavor: self.flavor }
    }
    pub(crate) fn map(&self, ty: Type, call: &mut BuildContext, f: impl Fn(f64) -> f64) -> Result<Array> {
        charge(call, self.len())?;
        Ok(Array::new(self.data.mapv(f), ty, self.flavor))
    }
    /// Values in C order.
    pub fn values(&self) -> Vec<f64> {
        self.data.iter().copied().collect()
    }
    /// Convert an element to bool, int or float.
    pub(crate) fn plain(&self, x: f64) -> Value {
        match self.ty {
            Type::Bool => Value::Bool(x != 0.0),
            ty if ty.is_float() => Value::Float(x),
            _ => Value::Int(x as i64),
        }
    }
    /// The only element.
    pub fn item(&self) -> Result<Value> {
        match (self.len(), self.data.first()) {
            (1, Some(x)) => Ok(self.plain(*x)),
            (n, _) => Err(err!("expected an array of one element, found {n}").kind(Kind::Config)),
        }
    }
    /// Convert to nested lists.
    pub(crate) fn to_list(&self, call: &mut BuildContext) -> Result<Value> {
        call.charge(self.len() + 1)?;
        Ok(self.nested())
    }
    fn nested(&self) -> Value {
        match self.ndim() {
            0 => self.data.first().map_or(Value::None, |x| self.plain(*x)),
            1 => Value::list(self.data.iter().map(|x| self.plain(*x))),
            _ => Value::list(self.rows().iter().map(Array::nested)),
        }
    }
    /// Format as nested lists: floats by their shortest representation in their type, large arrays by their shape only.
    fn text(&self) -> String {
        if self.len() > 1000 {
            return format!("<shape {:?}>", self.shape());
        }
        if self.ty == Type::F32 {
            let digits = self.data.mapv(|x| (x as f32).to_string().parse().unwrap_or(x));
            return format!("{:?}", Array { data: digits.into_shared(), ty: Type::F64, ..self.clone() }.nested());
        }
        format!("{:?}", self.nested())
    }
    /// Split into arrays along the first axis.
    pub(crate) fn rows(&self) -> Vec<Array> {
        (0..self.shape().first().copied().unwrap_or(0))
            .map(|i| self.with(self.data.clone().index_axis_move(ndarray::Axis(0), i)))
            .collect()
    }

    /// Convert the voxels of a volume to a torch tensor `[C, X, Y, Z]`, as transforms receive it.
    // The conversion is not needed for f64.
    #[allow(clippy::unnecessary_cast)]
    pub fn from_volume(volume: &Volume, call: &mut BuildContext) -> Result<Array> {
        let layout = volume.layout;
        charge(call, elements(&layout.shape)?)?;
        let mut values = Vec::with_capacity(elements(&layout.shape)?);
        each_voxels!(&volume.voxels, slice => {
            let [c, x, y, z] = layout.shape;
            let at = |index: [usize; 4]| {
                let steps: isize = index.iter().zip(layout.strides).map(|(i, stride)| *i as isize * stride).sum();
                layout.offset.checked_add_signed(steps).and_then(|at| slice.get(at)).copied()
            };
            for index in (0..c).flat_map(|c| (0..x).flat_map(move |x| (0..y).flat_map(move |y| (0..z).map(move |z| [c, x, y, z])))) {
                let voxel = at(index).ok_or_else(|| err!("a volume's layout reaches beyond its voxels"))?;
                values.push(voxel as f64);
            }
        });
        Array::from_values(&layout.shape, values, Type::from(volume.voxels.dtype()), Flavor::Torch)
    }

    /// Convert to voxels in C order, and the shape. bool is converted to u8, half precision to f32.
    pub fn to_voxels(&self) -> (Voxels, Vec<usize>) {
        macro_rules! collect {
            ($kind:ident, $number:ty) => {
                Voxels::$kind(self.data.iter().map(|x| *x as $number).collect())
            };
        }
        let voxels = match self.ty {
            Type::Bool | Type::U8 => collect!(U8, u8),
            Type::I8 => collect!(I8, i8),
            Type::U16 => collect!(U16, u16),
            Type::I16 => collect!(I16, i16),
            Type::U32 => collect!(U32, u32),
            Type::I32 => collect!(I32, i32),
            Type::U64 => collect!(U64, u64),
            Type::I64 => collect!(I64, i64),
            Type::F16 | Type::BF16 | Type::F32 => collect!(F32, f32),
            Type::F64 => collect!(F64, f64),
        };
        (voxels, self.shape().to_vec())
    }
}

impl FromArc for Array {
    fn expected() -> String {
        "array or tensor".into()
    }
    fn from_value(value: &Value) -> Option<std::sync::Arc<Self>> {
        value.downcast::<Array>()
    }
}

impl Object for Array {
    fn fingerprint(&self) -> Option<String> {
        // The hash may change with the version of Rust; results are then computed again.
        let mut hash = std::hash::DefaultHasher::new();
        self.data.iter().for_each(|x| hash.write_u64(x.to_bits()));
        Some(format!("{} {} {:?} {:016x}", self.type_name(), self.ty.name(), self.shape(), hash.finish()))
    }
    fn type_name(&self) -> &str {
        match (self.flavor, self.ndim()) {
            (Flavor::Torch, _) => "Tensor",
            (Flavor::Numpy, 0) => self.ty.name(),
            (Flavor::Numpy, _) => "ndarray",
        }
    }
    /// Formats as nested lists with the type, unlike the layout of NumPy and torch.
    fn repr(&self) -> String {
        let name = if self.flavor == Flavor::Torch { "tensor" } else { "array" };
        let prefix = if self.flavor == Flavor::Torch { "torch." } else { "" };
        format!("{name}({}, dtype={prefix}{})", self.text(), self.ty.name())
    }
    fn to_str(&self) -> String {
        if self.flavor == Flavor::Torch { self.repr() } else { self.text() }
    }
    fn attr_names(&self) -> Vec<&'static str> {
        methods::names()
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        self.plain_attribute(name)
    }
    fn call_method(&self, name: &str, args: &mut Args, call: &mut BuildContext) -> Result<Option<Value>> {
        methods::call_method(self, name, name, args, call)
    }
    fn index(&self, index: &Value) -> Result<Value> {
        Ok(Value::object(self.take(index)?))
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        if self.ndim() == 0 {
            return None;
        }
        Some(Ok(self.rows().into_iter().map(Value::object).collect()))
    }
    fn length(&self) -> Option<usize> {
        self.shape().first().copied()
    }
    /// Python raises an error for several elements; since this function cannot fail, all elements must be true.
    fn truthy(&self) -> bool {
        !self.is_empty() && self.data.iter().all(|x| *x != 0.0)
    }
    fn operator(&self, op: &str, other: &Value, reflected: bool, call: &mut BuildContext) -> Result<Option<Value>> {
        if op == "in" {
            return Ok(Some(self.contains(other, call)?.into()));
        }
        if let Some(result) = self.unary(op, call)? {
            return Ok(Some(Value::object(result)));
        }
        if !ops::is_operator(op) {
            return Ok(None);
        }
        let result = ops::binary(op, &Value::object(self.clone()), other, reflected, self.flavor, call)?;
        Ok(Some(Value::object(result)))
    }
    /// Equality as a single bool, for operations such as `in`: equal shapes and values.
    fn equals(&self, other: &Value) -> bool {
        match other {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                self.len() == 1 && self.item().is_ok_and(|own| own == *other)
            }
            other => other.downcast::<Array>().is_some_and(|other| other.data == self.data),
        }
    }
}
