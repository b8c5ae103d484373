//! stub
use super::{Applied, Grid};
use crate::error::Result;
use std::sync::Arc;
pub struct Inverse;
impl Inverse {
    pub fn new(_ops: &[Arc<Applied>]) -> Inverse {
        Inverse
    }
    pub fn from_grid(&self) -> Grid {
        todo!()
    }
    pub fn to_grid(&self) -> Grid {
        todo!()
    }
    pub fn pads(&self) -> bool {
        todo!()
    }
    pub fn nearest<T: Copy + Send + Sync>(&self, _map: &[T], _fill: T) -> Result<Vec<T>> {
        todo!()
    }
    pub fn linear(&self, _channel: &[f32]) -> Result<Vec<f32>> {
        todo!()
    }
}
