//! Voxel storage: a reference-counted buffer of one numeric type.

use crate::err;
use crate::error::Result;
use crate::zeroed::{self, Zeroed};
use std::sync::Arc;

/// Numeric type of voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

/// A buffer of voxels; clones share it.
#[derive(Debug, Clone)]
pub enum Voxels {
    /// Voxels of [`DType::U8`].
    U8(Arc<[u8]>),
    /// Voxels of [`DType::I8`].
    I8(Arc<[i8]>),
    /// Voxels of [`DType::U16`].
    U16(Arc<[u16]>),
    /// Voxels of [`DType::I16`].
    I16(Arc<[i16]>),
    /// Voxels of [`DType::U32`].
    U32(Arc<[u32]>),
    /// Voxels of [`DType::I32`].
    I32(Arc<[i32]>),
    /// Voxels of [`DType::U64`].
    U64(Arc<[u64]>),
    /// Voxels of [`DType::I64`].
    I64(Arc<[i64]>),
    /// Voxels of [`DType::F32`].
    F32(Arc<[f32]>),
    /// Voxels of [`DType::F64`].
    F64(Arc<[f64]>),
}

/// Evaluates an expression with `$slice` bound to the typed slice of a [`Voxels`].
#[macro_export]
macro_rules! each_voxels {
    ($voxels:expr, $slice:ident => $body:expr) => {
        match $voxels {
            $crate::Voxels::U8($slice) => $body,
            $crate::Voxels::I8($slice) => $body,
            $crate::Voxels::U16($slice) => $body,
            $crate::Voxels::I16($slice) => $body,
            $crate::Voxels::U32($slice) => $body,
            $crate::Voxels::I32($slice) => $body,
            $crate::Voxels::U64($slice) => $body,
            $crate::Voxels::I64($slice) => $body,
            $crate::Voxels::F32($slice) => $body,
            $crate::Voxels::F64($slice) => $body,
        }
    };
}

impl DType {
    /// NumPy's name, as used in configs.
    pub fn name(self) -> &'static str {
        match self {
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::U16 => "uint16",
            DType::I16 => "int16",
            DType::U32 => "uint32",
            DType::I32 => "int32",
            DType::U64 => "uint64",
            DType::I64 => "int64",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }
    /// Bytes of one voxel.
    pub fn size_bytes(self) -> usize {
        match self {
            DType::U8 | DType::I8 => 1,
            DType::U16 | DType::I16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::U64 | DType::I64 | DType::F64 => 8,
        }
    }
    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }
}

impl Voxels {
    /// Creates `count` zeros of type `dtype`; physical memory is used as they are written.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn zeros(dtype: DType, count: usize) -> Result<Voxels> {
        fn zeros<T: Zeroed>(count: usize) -> Result<Arc<[T]>> {
            zeroed::arc(count).ok_or_else(|| err!("not enough memory for {count} voxels of {} bytes", size_of::<T>()))
        }
        Ok(match dtype {
            DType::U8 => Voxels::U8(zeros(count)?),
            DType::I8 => Voxels::I8(zeros(count)?),
            DType::U16 => Voxels::U16(zeros(count)?),
            DType::I16 => Voxels::I16(zeros(count)?),
            DType::U32 => Voxels::U32(zeros(count)?),
            DType::I32 => Voxels::I32(zeros(count)?),
            DType::U64 => Voxels::U64(zeros(count)?),
            DType::I64 => Voxels::I64(zeros(count)?),
            DType::F32 => Voxels::F32(zeros(count)?),
            DType::F64 => Voxels::F64(zeros(count)?),
        })
    }
    /// Creates an empty buffer of type `dtype`.
    pub fn empty(dtype: DType) -> Voxels {
        match dtype {
            DType::U8 => Voxels::U8(Arc::new([])),
            DType::I8 => Voxels::I8(Arc::new([])),
            DType::U16 => Voxels::U16(Arc::new([])),
            DType::I16 => Voxels::I16(Arc::new([])),
            DType::U32 => Voxels::U32(Arc::new([])),
            DType::I32 => Voxels::I32(Arc::new([])),
            DType::U64 => Voxels::U64(Arc::new([])),
            DType::I64 => Voxels::I64(Arc::new([])),
            DType::F32 => Voxels::F32(Arc::new([])),
            DType::F64 => Voxels::F64(Arc::new([])),
        }
    }
    /// Type of the voxels.
    pub fn dtype(&self) -> DType {
        match self {
            Voxels::U8(_) => DType::U8,
            Voxels::I8(_) => DType::I8,
            Voxels::U16(_) => DType::U16,
            Voxels::I16(_) => DType::I16,
            Voxels::U32(_) => DType::U32,
            Voxels::I32(_) => DType::I32,
            Voxels::U64(_) => DType::U64,
            Voxels::I64(_) => DType::I64,
            Voxels::F32(_) => DType::F32,
            Voxels::F64(_) => DType::F64,
        }
    }
    /// Number of voxels in the buffer.
    pub fn len(&self) -> usize {
        each_voxels!(self, slice => slice.len())
    }
    /// Whether the buffer is empty, as that of a volume that was read from its header alone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
