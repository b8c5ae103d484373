//! Data types of arrays and tensors, and the values `np.float32` and `torch.float32`. `np.float32` cannot be called.

use crate::component::members::{self, Member, Member::Attribute};
use crate::component::{FromValue, Object, Value};
use crate::error::Result;
use crate::image;
use crate::python::common::Constants;

/// Data type of an array's elements, named after its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `bool`, one byte.
    Bool,
    /// `uint8`
    U8,
    /// `int8`
    I8,
    /// `uint16`
    U16,
    /// `int16`
    I16,
    /// `uint32`
    U32,
    /// `int32`
    I32,
    /// `uint64`
    U64,
    /// `int64`
    I64,
    /// `float16`
    F16,
    /// `bfloat16`
    BF16,
    /// `float32`
    F32,
    /// `float64`
    F64,
}

/// Library whose default types, promotion rules and argument conventions apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// NumPy, with float64 by default.
    Numpy,
    /// torch, with float32 by default.
    Torch,
}

impl Flavor {
    /// Default floating-point type.
    pub fn float(self) -> Type {
        if self == Torch { F32 } else { F64 }
    }
}

use Flavor::{Numpy, Torch};
use Type::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};

/// Category of a data type; a higher one takes precedence in promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Bool,
    Int,
    Float,
}

impl Type {
    /// All data types.
    pub const ALL: [Type; 13] = [Bool, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64];

    /// Name, bits and category.
    fn facts(self) -> (&'static str, u32, Category) {
        match self {
            Bool => ("bool", 8, Category::Bool),
            U8 => ("uint8", 8, Category::Int),
            I8 => ("int8", 8, Category::Int),
            U16 => ("uint16", 16, Category::Int),
            I16 => ("int16", 16, Category::Int),
            U32 => ("uint32", 32, Category::Int),
            I32 => ("int32", 32, Category::Int),
            U64 => ("uint64", 64, Category::Int),
            I64 => ("int64", 64, Category::Int),
            F16 => ("float16", 16, Category::Float),
            BF16 => ("bfloat16", 16, Category::Float),
            F32 => ("float32", 32, Category::Float),
            F64 => ("float64", 64, Category::Float),
        }
    }
    /// Name in NumPy and torch: `float32`.
    pub fn name(self) -> &'static str {
        self.facts().0
    }
    pub(super) fn bits(self) -> u32 {
        self.facts().1
    }
    pub(super) fn category(self) -> Category {
        self.facts().2
    }
    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }
    fn is_unsigned(self) -> bool {
        matches!(self, U8 | U16 | U32 | U64)
    }
    /// Smallest and largest value of an integer type.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        (self.category() == Category::Int).then(|| {
            if self.is_unsigned() {
                (0, (1 << self.bits()) - 1)
            } else {
                (-(1 << (self.bits() - 1)), (1 << (self.bits() - 1)) - 1)
            }
        })
    }
    /// Convert `x` to this type: rounded to a float, or truncated and wrapped to an integer.
    pub(super) fn hold(self, x: f64) -> f64 {
        match self {
            Bool => f64::from(u8::from(x != 0.0)),
            U8 => f64::from(x as i64 as u8),
            I8 => f64::from(x as i64 as i8),
            U16 => f64::from(x as i64 as u16),
            I16 => f64::from(x as i64 as i16),
            U32 => f64::from(x as i64 as u32),
            I32 => f64::from(x as i64 as i32),
            U64 => (if x < 0.0 { x as i64 as u64 } else { x as u64 }) as f64,
            I64 => x as i64 as f64,
            F16 => half::f16::from_f64(x).to_f64(),
            BF16 => half::bf16::from_f64(x).to_f64(),
            F32 => f64::from(x as f32),
            F64 => x,
        }
    }
    fn to_image(self) -> Option<image::DType> {
        Some(match self {
            Bool | U8 => image::DType::U8,
            I8 => image::DType::I8,
            U16 => image::DType::U16,
            I16 => image::DType::I16,
            U32 => image::DType::U32,
            I32 => image::DType::I32,
            U64 => image::DType::U64,
            I64 => image::DType::I64,
            F32 => image::DType::F32,
            F64 => image::DType::F64,
            F16 | BF16 => return None,
        })
    }
    /// Data type by its name in NumPy or torch: `float32`, `half`, `torch.long`, `int`.
    fn named(name: &str) -> Option<Type> {
        let name =
            name.strip_prefix("torch.").or(name.strip_prefix("np.")).or(name.strip_prefix("numpy.")).unwrap_or(name);
        Type::ALL.into_iter().find(|ty| ty.name() == name).or(match name {
            "float" | "double" => Some(F64),
            "int" | "long" => Some(I64),
            "half" => Some(F16),
            _ => None,
        })
    }
}

impl From<image::DType> for Type {
    fn from(dtype: image::DType) -> Type {
        match dtype {
            image::DType::U8 => U8,
            image::DType::I8 => I8,
            image::DType::U16 => U16,
            image::DType::I16 => I16,
            image::DType::U32 => U32,
            image::DType::I32 => I32,
            image::DType::U64 => U64,
            image::DType::I64 => I64,
            image::DType::F32 => F32,
            image::DType::F64 => F64,
        }
    }
}

/// Common data type of two data types, by the promotion rules of NumPy or torch.
pub fn promote(flavor: Flavor, a: Type, b: Type) -> Type {
    use Category as C;
    if a == b {
        return a;
    }
    let (low, high) = if a.category() <= b.category() { (a, b) } else { (b, a) };
    match (low.category(), high.category()) {
        (C::Bool, _) => high,
        (C::Int, C::Float) if flavor == Torch => high,
        (C::Int, C::Float) => {
            let least = match low.bits() {
                8 => F16,
                16 => F32,
                _ => F64,
            };
            if least.bits() > high.bits() { least } else { high }
        }
        (C::Float, C::Float) if low.bits() == high.bits() => F32,
        (C::Int, C::Int) if low.is_unsigned() != high.is_unsigned() => {
            let (unsigned, signed) = if low.is_unsigned() { (low, high) } else { (high, low) };
            if signed.bits() > unsigned.bits() {
                return signed;
            }
            match unsigned.bits() {
                8 => I16,
                16 => I32,
                32 => I64,
                _ if flavor == Torch => I64,
                _ => F64,
            }
        }
        _ => {
            if low.bits() > high.bits() {
                low
            } else {
                high
            }
        }
    }
}

/// A data type as a value: `np.float32`, `torch.float32`, `array.dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DTypeObject {
    /// The data type.
    pub ty: Type,
    /// Whether this is a type of NumPy or torch.
    pub flavor: Flavor,
}

impl DTypeObject {
    /// Creates the value.
    pub fn of(ty: Type, flavor: Flavor) -> Value {
        Value::object(DTypeObject { ty, flavor })
    }
    fn members(&self) -> &'static [Member<DTypeObject>] {
        match self.flavor {
            Numpy => &[ITEM_SIZE],
            Torch => &[ITEM_SIZE, Attribute("is_floating_point", |dtype| Ok(dtype.ty.is_float().into()))],
        }
    }
}

macro_rules! dtypes {
    ($($module:literal $flavor:ident: $($name:literal = $ty:ident),*;)*) => {
        &[$($((concat!($module, $name), || DTypeObject::of($ty, $flavor))),*),*]
    };
}

/// The data types by name.
pub const CONSTANTS: Constants = dtypes!(
    "numpy." Numpy: "bool_" = Bool, "uint8" = U8, "int8" = I8, "uint16" = U16, "int16" = I16, "uint32" = U32,
        "int32" = I32, "uint64" = U64, "int64" = I64, "float16" = F16, "float32" = F32, "float64" = F64;
    "torch." Torch: "bool" = Bool, "uint8" = U8, "int8" = I8, "int16" = I16, "short" = I16, "int32" = I32, "int" = I32,
        "int64" = I64, "long" = I64, "float16" = F16, "half" = F16, "bfloat16" = BF16, "float32" = F32, "float" = F32,
        "float64" = F64, "double" = F64;
);

const ITEM_SIZE: Member<DTypeObject> = Attribute("itemsize", |dtype| Ok(Value::Int(i64::from(dtype.ty.bits() / 8))));

impl Object for DTypeObject {
    fn type_name(&self) -> &str {
        if self.flavor == Torch { "torch.dtype" } else { "numpy.dtype" }
    }
    fn repr(&self) -> String {
        match self.flavor {
            Torch => format!("torch.{}", self.ty.name()),
            Numpy => format!("dtype('{}')", self.ty.name()),
        }
    }
    fn to_str(&self) -> String {
        if self.flavor == Numpy { self.ty.name().into() } else { self.repr() }
    }
    fn attr_names(&self) -> Vec<&'static str> {
        members::names(self.members())
    }
    fn attr(&self, name: &str) -> Result<Option<Value>> {
        members::attribute(self, self.members(), name)
    }
    fn equals(&self, other: &Value) -> bool {
        if let Some(other) = other.downcast::<DTypeObject>() {
            return other.ty == self.ty && other.flavor == self.flavor;
        }
        // np.dtype('float64') == 'float64' and == float
        self.flavor == Numpy && DTypeObject::from_value(other).is_some_and(|other| other.ty == self.ty)
    }
}

impl FromValue for DTypeObject {
    fn expected() -> String {
        "dtype such as np.float32, torch.float32, 'float32' or float".into()
    }
    fn from_value(value: &Value) -> Option<Self> {
        let python = |ty| Some(DTypeObject { ty, flavor: Numpy });
        match value {
            Value::Object(_) => value.downcast::<DTypeObject>().map(|dtype| *dtype),
            Value::Str(name) => python(Type::named(name)?),
            Value::Function(function) => match function.path.trim_start_matches("builtins.") {
                "float" => python(F64),
                "int" => python(I64),
                "bool" => python(Bool),
                _ => None,
            },
            _ => None,
        }
    }
}

impl FromValue for Type {
    fn expected() -> String {
        DTypeObject::expected()
    }
    fn from_value(value: &Value) -> Option<Self> {
        DTypeObject::from_value(value).map(|dtype| dtype.ty)
    }
}

/// For arguments of components. Images have no half precision and store bools as u8.
impl FromValue for image::DType {
    fn expected() -> String {
        DTypeObject::expected()
    }
    fn from_value(value: &Value) -> Option<Self> {
        DTypeObject::from_value(value)?.ty.to_image()
    }
}
