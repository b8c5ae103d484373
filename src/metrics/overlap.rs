//! Counts voxels per channel: in the prediction, in the target, and in their intersection.

use crate::contracts::Segmentation;
use crate::error::Result;
use crate::{bail, err};
use tch::{Kind, Tensor};

/// Voxel counts, one per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Voxels in both the prediction and the target.
    pub both: Vec<i64>,
    /// Voxels in the prediction.
    pub prediction: Vec<i64>,
    /// Voxels in the target.
    pub target: Vec<i64>,
    /// Number of voxels of the grid.
    pub voxels: i64,
}

impl Segmentation {
    /// Number of channels, including one-hot channels that are never materialized.
    pub fn channels(&self) -> usize {
        match self {
            Segmentation::Labels { classes, .. } => *classes,
            Segmentation::Channels(x) => x.size().first().map_or(0, |&n| n as usize),
        }
    }
    /// Shape of the grid, `[X,Y,Z]`.
    pub fn spatial(&self) -> Vec<i64> {
        match self {
            Segmentation::Labels { map, .. } => map.size(),
            Segmentation::Channels(x) => x.size().get(1..).unwrap_or_default().to_vec(),
        }
    }
    /// Returns the labels as a flat i64 tensor, after checking them against the number of classes.
    fn flat(map: &Tensor, classes: usize, what: &str) -> Result<Tensor> {
        let flat = map.f_to_kind(Kind::Int64)?.f_reshape([-1])?;
        if flat.numel() > 0 {
            let (low, high) = (flat.f_min()?.f_int64_value(&[])?, flat.f_max()?.f_int64_value(&[])?);
            if low < 0 || high >= classes as i64 {
                bail!("the {what} contains labels from {low} to {high}, expected 0 to {}", classes as i64 - 1);
            }
        }
        Ok(flat)
    }
    /// Returns channel `c` as booleans `[X,Y,Z]`.
    fn channel(&self, c: usize) -> Result<Tensor> {
        Ok(match self {
            Segmentation::Labels { map, .. } => map.f_eq(c as i64)?,
            Segmentation::Channels(x) => x.f_get(c as i64)?.f_ne(0)?,
        })
    }
}

/// Counts the overlap of two segmentations on the same grid with the same number of channels. Voxels where `keep`
/// (booleans `[X,Y,Z]`) is false are left out.
pub fn overlap(prediction: &Segmentation, target: &Segmentation, keep: Option<&Tensor>) -> Result<Overlap> {
    let (channels, spatial) = (target.channels(), target.spatial());
    if prediction.spatial() != spatial || prediction.channels() != channels {
        return Err(err!(
            "the prediction has {} channels of {:?} voxels, the target {channels} of {spatial:?}",
            prediction.channels(),
            prediction.spatial()
        ));
    }
    let voxels = spatial.iter().product();
    if let (Segmentation::Labels { map: p, .. }, Segmentation::Labels { map: t, .. }) = (prediction, target) {
        let (p, t) = (Segmentation::flat(p, channels, "prediction")?, Segmentation::flat(t, channels, "target")?);
        let (p, t) = match keep {
            Some(keep) => (p.f_masked_select(&keep.f_reshape([-1])?)?, t.f_masked_select(&keep.f_reshape([-1])?)?),
            None => (p, t),
        };
        let count =
            |x: &Tensor| -> Result<Vec<i64>> { Ok(Vec::try_from(&x.f_bincount::<&Tensor>(None, channels as i64)?)?) };
        let both = count(&p.f_masked_select(&p.f_eq_tensor(&t)?)?)?;
        return Ok(Overlap { both, prediction: count(&p)?, target: count(&t)?, voxels });
    }
    let mut out = Overlap { both: vec![], prediction: vec![], target: vec![], voxels };
    for c in 0..channels {
        let (mut p, mut t) = (prediction.channel(c)?, target.channel(c)?);
        if let Some(keep) = keep {
            (p, t) = (p.f_logical_and(keep)?, t.f_logical_and(keep)?);
        }
        let count = |x: &Tensor| -> Result<i64> { Ok(x.f_sum(Kind::Int64)?.f_int64_value(&[])?) };
        out.both.push(count(&p.f_logical_and(&t)?)?);
        out.prediction.push(count(&p)?);
        out.target.push(count(&t)?);
    }
    Ok(out)
}

/// Returns a mask `[X,Y,Z]` that is false at voxels excluded by `ignore_index`
/// (`monai.metrics.utils.create_ignore_mask`).
pub fn kept(target: &Segmentation, index: i64) -> Result<Tensor> {
    let channels = target.channels() as i64;
    Ok(match target {
        // Label maps: exclude the voxels of this class. Voxels without any class do not occur in label maps.
        Segmentation::Labels { map, .. } => map.f_ne(index)?,
        Segmentation::Channels(x) if (0..channels).contains(&index) => x.f_get(index)?.f_eq(0)?,
        Segmentation::Channels(x) => x.f_sum_dim_intlist([0i64].as_slice(), false, None)?.f_gt(0)?,
    })
}
