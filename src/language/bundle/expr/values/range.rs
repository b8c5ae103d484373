//! `range`, without storing its items.

use super::{index::clamped, integer};
use crate::bail;
use crate::component::{Object, Value};
use crate::error::Result;

/// Python's `range(start, stop, step)`.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl Range {
    pub fn new(start: i64, stop: i64, step: i64) -> Result<Range> {
        if step == 0 {
            bail!("range() arg 3 must not be zero");
        }
        let range = Range { start, stop, step };
        if i64::try_from(range.count()).is_err() {
            bail!("range() has too many items for 64 bits");
        }
        Ok(range)
    }
    fn count(&self) -> i128 {
        let (start, stop, step) = (i128::from(self.start), i128::from(self.stop), i128::from(self.step));
        let gap = if step > 0 { stop - start } else { start - stop };
        if gap <= 0 { 0 } else { (gap - 1) / step.abs() + 1 }
    }
    /// Number of items; [`Object::length`] returns the same for Python's `len`.
    pub fn size(&self) -> i64 {
        self.count() as i64
    }
    pub fn get(&self, at: i64) -> Option<i64> {
        (0..self.size()).contains(&at).then(|| (i128::from(self.start) + i128::from(self.step) * i128::from(at)) as i64)
    }
    pub fn position(&self, value: i64) -> Option<i64> {
        let offset = i128::from(value) - i128::from(self.start);
        let at = offset / i128::from(self.step);
        (offset % i128::from(self.step) == 0 && (0..self.count()).contains(&at)).then_some(at as i64)
    }
    pub fn contains(&self, value: &Value) -> bool {
        match value {
            Value::Int(value) => self.position(*value).is_some(),
            Value::Bool(value) => self.position(i64::from(*value)).is_some(),
            Value::Float(value) => value.fract() == 0.0 && value.abs() < 9e18 && self.position(*value as i64).is_some(),
            _ => false,
        }
    }
}

impl Object for Range {
    fn type_name(&self) -> &str {
        "range"
    }
    fn repr(&self) -> String {
        match self.step {
            1 => format!("range({}, {})", self.start, self.stop),
            step => format!("range({}, {}, {step})", self.start, self.stop),
        }
    }
    fn index(&self, index: &Value) -> Result<Value> {
        if let Value::Slice(slice) = index {
            let [start, stop, step] = clamped(slice, self.size() as usize)?;
            let at = |k: i64| (i128::from(self.start) + i128::from(self.step) * i128::from(k)) as i64;
            return Ok(Value::object(Range { start: at(start), stop: at(stop), step: self.step.saturating_mul(step) }));
        }
        let at = integer(index, "range indices")?;
        match self.get(if at < 0 { at + self.size() } else { at }) {
            Some(value) => Ok(Value::Int(value)),
            None => bail!("range object index out of range"),
        }
    }
    fn iterate(&self) -> Option<Result<Vec<Value>>> {
        if self.size() > 10_000_000 {
            return Some(Err(crate::err!("a range of {} items is too large to convert to a list", self.size())));
        }
        Some(Ok((0..self.size()).filter_map(|at| self.get(at)).map(Value::Int).collect()))
    }
    fn length(&self) -> Option<usize> {
        Some(self.size() as usize)
    }
    fn equals(&self, other: &Value) -> bool {
        other.downcast::<Range>().is_some_and(|other| {
            let n = self.size();
            n == other.size() && (n == 0 || (self.start == other.start && (n == 1 || self.step == other.step)))
        })
    }
}
