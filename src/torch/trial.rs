//! Finds an input that a network accepts, by trial.

use super::guard;
use crate::err;
use crate::error::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Edge lengths of the cubes that are tried, in voxels.
const EDGES: [i64; 7] = [16, 32, 48, 64, 96, 128, 160];

/// Applies `forward` to zeros `[1, C, X, Y, …]` on `device`, float32: cubes of `axes` axes, from small to large, each with
/// every C in `channels`. Returns the first shape that it accepts, and its result.
///
/// # Errors
/// It accepts none; the message is that of the first one.
pub fn first_accepted<T>(
    channels: &[i64],
    axes: usize,
    device: Device,
    forward: impl Fn(&Tensor) -> Result<T>,
) -> Result<(Vec<i64>, T)> {
    let mut first: Option<Error> = None;
    for (edge, channels) in EDGES.iter().flat_map(|edge| channels.iter().map(move |channels| (*edge, *channels))) {
        let shape = [vec![1, channels], vec![edge; axes]].concat();
        let x = Tensor::f_zeros(&*shape, (Kind::Float, device))?;
        match guard(|| forward(&x)) {
            Ok(output) => return Ok((shape, output)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let why = first.map_or(String::new(), |error| error.message().lines().last().unwrap_or_default().to_owned());
    Err(err!("the network accepts none of the cubes of {EDGES:?} voxels per axis: {why}"))
}
