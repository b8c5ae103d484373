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
    if let (Segmentation::Labels { map: prediction, .. }, Segmentation::Labels { map: target, .. }) =
        (prediction, target)
    {
        return label_overlap(prediction, target, channels as i64, keep);
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

/// Number of voxels that are counted together, to bound the memory of their i64 copies.
const CHUNK: i64 = 1 << 22;

fn label_overlap(prediction: &Tensor, target: &Tensor, channels: i64, keep: Option<&Tensor>) -> Result<Overlap> {
    let flat = |x: &Tensor| x.f_reshape([-1]);
    let (prediction, target, keep) = (flat(prediction)?, flat(target)?, keep.map(flat).transpose()?);
    let voxels = target.numel() as i64;
    let [mut both, mut of_prediction, mut of_target] = std::array::from_fn(|_| vec![0; channels as usize]);
    for start in (0..voxels).step_by(CHUNK as usize) {
        let chunk = |x: &Tensor| x.f_narrow(0, start, CHUNK.min(voxels - start));
        let labels = |x: &Tensor, what: &str| -> Result<Tensor> {
            let labels = chunk(x)?.f_to_kind(Kind::Int64)?;
            let (low, high) = (labels.f_min()?.f_int64_value(&[])?, labels.f_max()?.f_int64_value(&[])?);
            if low < 0 || high >= channels {
                bail!("the {what} contains labels from {low} to {high}, expected 0 to {}", channels - 1);
            }
            match &keep {
                Some(keep) => Ok(labels.f_masked_select(&chunk(keep)?)?),
                None => Ok(labels),
            }
        };
        let (p, t) = (labels(&prediction, "prediction")?, labels(&target, "target")?);
        let add = |counts: &mut Vec<i64>, labels: &Tensor| -> Result<()> {
            let found = Vec::<i64>::try_from(&labels.f_bincount::<&Tensor>(None, channels)?)?;
            counts.iter_mut().zip(found).for_each(|(count, found)| *count += found);
            Ok(())
        };
        add(&mut both, &p.f_masked_select(&p.f_eq_tensor(&t)?)?)?;
        add(&mut of_prediction, &p)?;
        add(&mut of_target, &t)?;
    }
    Ok(Overlap { both, prediction: of_prediction, target: of_target, voxels })
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
