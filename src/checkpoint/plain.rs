//! serde implementation for [`StateDict`]: converts Rust types to and from the plain values of a checkpoint.
//!
//! Structs become dicts, tuples tuples, sequences lists, and `Option` None or the value. [`Int64Tensor`] and
//! [`Uint8Tensor`] become tensors; any integer tensor can be read as a sequence.

use super::StateDict;
use crate::err;
use crate::error::Result;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::ser::{Error as _, Impossible};
use serde::{Deserialize, Serialize, ser};
use tch::{Kind, Tensor};

/// Integers that a checkpoint stores as an int64 tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Int64Tensor(pub Vec<i64>);

/// Bytes that a checkpoint stores as a uint8 tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uint8Tensor(pub Vec<u8>);

/// Convert `value` to a checkpoint's value.
///
/// # Errors
/// Integers that do not fit int64, dict keys that are not strings, and enums.
pub fn to_state<T: Serialize>(value: &T) -> Result<StateDict> {
    value.serialize(Writer).map_err(|error| err!("cannot be saved: {error}"))
}

/// Convert the result of [`to_state`] back.
///
/// # Errors
/// A missing field or a value of another type; fields that `T` does not have are ignored.
pub fn from_state<T: DeserializeOwned>(state: &StateDict) -> Result<T> {
    T::deserialize(Reader(state)).map_err(|error| err!("{error}"))
}

struct Writer;

/// The items of a list or tuple.
struct Items {
    items: Vec<StateDict>,
    finish: fn(Vec<StateDict>) -> StateDict,
}

/// The entries of a dict.
#[derive(Default)]
struct Entries(Vec<(StateDict, StateDict)>);

fn items(length: usize, finish: fn(Vec<StateDict>) -> StateDict) -> Result<Items, Error> {
    Ok(Items { items: Vec::with_capacity(length), finish })
}

fn unsupported<T>(what: &str) -> Result<T, Error> {
    Err(Error::custom(format_args!("a checkpoint cannot hold {what}")))
}

/// Convert a list of integers to a tensor of `kind`.
fn tensor(list: StateDict, kind: Kind) -> Result<StateDict, Error> {
    let StateDict::List(items) = list else { return unsupported("this value as a tensor") };
    let number = |item: &StateDict| if let StateDict::Int(x) = item { Some(*x) } else { None };
    let numbers = items.iter().map(number).collect::<Option<Vec<i64>>>();
    let numbers = numbers.ok_or_else(|| Error::custom("expected integers for a tensor"))?;
    let tensor = Tensor::f_from_slice(&numbers).and_then(|tensor| tensor.f_to_kind(kind)).map_err(Error::custom)?;
    Ok(StateDict::Tensor(tensor))
}

macro_rules! integers {
    ($($method:ident($ty:ty)),*) => {$(
        fn $method(self, value: $ty) -> Result<StateDict, Error> {
            i64::try_from(value).map(StateDict::Int).map_err(|_| Error::custom("expected an integer that fits int64"))
        }
    )*};
}

impl ser::Serializer for Writer {
    type Ok = StateDict;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Impossible<StateDict, Error>;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Impossible<StateDict, Error>;

    integers!(serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64));
    integers!(serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64));

    fn serialize_bool(self, value: bool) -> Result<StateDict, Error> {
        Ok(StateDict::Bool(value))
    }
    fn serialize_f32(self, value: f32) -> Result<StateDict, Error> {
        Ok(StateDict::Float(f64::from(value)))
    }
    fn serialize_f64(self, value: f64) -> Result<StateDict, Error> {
        Ok(StateDict::Float(value))
    }
    fn serialize_char(self, value: char) -> Result<StateDict, Error> {
        Ok(StateDict::Str(value.into()))
    }
    fn serialize_str(self, value: &str) -> Result<StateDict, Error> {
        Ok(StateDict::Str(value.into()))
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<StateDict, Error> {
        Ok(StateDict::Bytes(value.into()))
    }
    fn serialize_none(self) -> Result<StateDict, Error> {
        Ok(StateDict::None)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<StateDict, Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<StateDict, Error> {
        Ok(StateDict::None)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<StateDict, Error> {
        Ok(StateDict::None)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<StateDict, Error> {
        unsupported("enums")
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<StateDict, Error> {
        let inner = value.serialize(self)?;
        match name {
            "Int64Tensor" => tensor(inner, Kind::Int64),
            "Uint8Tensor" => tensor(inner, Kind::Uint8),
            _ => Ok(inner),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<StateDict, Error> {
        unsupported("enums")
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Items, Error> {
        items(length.unwrap_or(0), StateDict::List)
    }
    fn serialize_tuple(self, length: usize) -> Result<Items, Error> {
        items(length, StateDict::Tuple)
    }
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items, Error> {
        items(length, StateDict::Tuple)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        unsupported("enums")
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Error> {
        Ok(Entries::default())
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries, Error> {
        Ok(Entries::default())
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        unsupported("enums")
    }
}

macro_rules! serialize_items {
    ($($interface:ident: $method:ident),*) => {$(
        impl ser::$interface for Items {
            type Ok = StateDict;
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.items.push(value.serialize(Writer)?);
                Ok(())
            }
            fn end(self) -> Result<StateDict, Error> {
                Ok((self.finish)(self.items))
            }
        }
    )*};
}

serialize_items!(SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field);

impl ser::SerializeMap for Entries {
    type Ok = StateDict;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.0.push((key.serialize(Writer)?, StateDict::None));
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let value = value.serialize(Writer)?;
        self.0.last_mut().map(|entry| entry.1 = value).ok_or_else(|| Error::custom("a value without a key"))
    }
    fn end(self) -> Result<StateDict, Error> {
        Ok(StateDict::Dict(self.0))
    }
}

impl ser::SerializeStruct for Entries {
    type Ok = StateDict;
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.0.push((StateDict::Str(name.into()), value.serialize(Writer)?));
        Ok(())
    }
    fn end(self) -> Result<StateDict, Error> {
        Ok(StateDict::Dict(self.0))
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a StateDict);

impl<'de> IntoDeserializer<'de, Error> for Reader<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> serde::Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            StateDict::None => visitor.visit_unit(),
            StateDict::Bool(value) => visitor.visit_bool(*value),
            StateDict::Int(value) => visitor.visit_i64(*value),
            StateDict::Float(value) => visitor.visit_f64(*value),
            StateDict::Str(value) => visitor.visit_borrowed_str(value),
            StateDict::Bytes(value) => visitor.visit_borrowed_bytes(value),
            StateDict::List(items) | StateDict::Tuple(items) | StateDict::Set(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(Reader)))
            }
            StateDict::Dict(items) => {
                let named = items.iter().filter_map(|(key, value)| match key {
                    StateDict::Str(key) => Some((key.as_str(), Reader(value))),
                    _ => None,
                });
                visitor.visit_map(MapDeserializer::new(named))
            }
            StateDict::Tensor(tensor) => {
                let numbers =
                    tensor.f_to_kind(Kind::Int64).and_then(|tensor| Vec::<i64>::try_from(&tensor.f_flatten(0, -1)?));
                visitor.visit_seq(SeqDeserializer::new(numbers.map_err(serde::de::Error::custom)?.into_iter()))
            }
        }
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            StateDict::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }
    /// Skipped without conversion, as it may be a network's weights.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        key: Int64Tensor,
        pair: (u64, Option<f64>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        flag: bool,
        text: String,
        rows: Vec<Vec<f32>>,
        inner: Option<Inner>,
        none: Option<Inner>,
        bytes: Uint8Tensor,
    }

    #[test]
    fn structs_survive_a_checkpoint() {
        let value = Outer {
            flag: true,
            text: "größe".into(),
            rows: vec![vec![0.1, f32::INFINITY], vec![]],
            inner: Some(Inner { key: Int64Tensor(vec![-1, 1 << 40]), pair: (1 << 62, Some(0.25)) }),
            none: None,
            bytes: Uint8Tensor(vec![0, 255]),
        };
        let state = to_state(&value).unwrap();
        assert!(
            matches!(state.get("inner").unwrap().get("key"), Some(StateDict::Tensor(t)) if t.kind() == Kind::Int64)
        );
        assert!(matches!(state.get("inner").unwrap().get("pair"), Some(StateDict::Tuple(pair)) if pair.len() == 2));
        assert!(matches!(state.get("none"), Some(StateDict::None)));
        assert_eq!(from_state::<Outer>(&state).unwrap(), value);
    }

    #[test]
    fn fields_that_are_not_asked_for_may_hold_weights() {
        let inner = Inner { key: Int64Tensor(vec![3]), pair: (1, None) };
        let weights = StateDict::Tensor(Tensor::zeros([1, 2, 3, 1, 1], (Kind::Float, tch::Device::Cpu)));
        let state = to_state(&inner).unwrap().with("network", StateDict::dict([("w", weights)]));
        assert_eq!(from_state::<Inner>(&state).unwrap(), inner);
    }

    #[test]
    fn missing_fields_and_other_types_are_errors() {
        let state = StateDict::dict([("key", StateDict::List(vec![])), ("other", StateDict::None)]);
        assert!(from_state::<Inner>(&state).unwrap_err().to_string().contains("missing field `pair`"));
        assert!(from_state::<u64>(&StateDict::Int(-1)).is_err());
        assert!(from_state::<(u64, f64)>(&StateDict::Tuple(vec![StateDict::Int(1)])).is_err());
        assert!(to_state(&u64::MAX).is_err());
    }
}
