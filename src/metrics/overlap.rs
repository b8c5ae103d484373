//! Counts voxels per channel: in the prediction, in the target, and in their intersection.

use crate::contracts::Segmentation;
use crate::error::Result;
use crate::{bail, err};
use tch::{Device, Kind, Tensor};

/// Voxel counts, one per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Voxels in both the prediction and the target.
    pub both: Vec<i64>,
    /// Voxels in the prediction.
    pub prediction: Vec<i64>,
    /// Voxels in the target.
    pub target: Vec<i64>,
    /// Number of voxels that were compared.
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
    pub fn channel(&self, c: usize) -> Result<Tensor> {
        Ok(match self {
            Segmentation::Labels { map, .. } => map.f_eq(c as i64)?,
            Segmentation::Channels(x) => x.f_get(c as i64)?.f_ne(0)?,
        })
    }
}

/// Checks that two segmentations have the same grid and number of channels.
pub fn check_same(prediction: &Segmentation, target: &Segmentation) -> Result<()> {
    let (channels, spatial) = (target.channels(), target.spatial());
    if prediction.spatial() != spatial || prediction.channels() != channels {
        let error = err!(
            "the prediction has {} channels of {:?} voxels, the target {channels} of {spatial:?}",
            prediction.channels(),
            prediction.spatial()
        );
        return Err(match prediction.spatial() == spatial {
            true => error.hint("AsDiscreted with `to_onehot` converts label maps to one channel per class"),
            false => error.hint(
                "Invertd brings the prediction back to the grid of the image; or apply the spatial transforms of the \
                 image to the label, too",
            ),
        });
    }
    Ok(())
}

/// Counts the overlap of two segmentations on the same grid with the same number of channels. Voxels where `keep`
/// (booleans `[X,Y,Z]`) is false are left out.
pub fn overlap(prediction: &Segmentation, target: &Segmentation, keep: Option<&Tensor>) -> Result<Overlap> {
    check_same(prediction, target)?;
    let channels = target.channels();
    let voxels = match keep {
        Some(keep) => keep.f_sum(Kind::Int64)?.f_int64_value(&[])?,
        None => target.spatial().iter().product(),
    };
    if let (Segmentation::Labels { .. }, Segmentation::Labels { .. }) = (prediction, target) {
        return label_overlap(prediction, target, channels, voxels, keep);
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

/// Number of voxels that are counted together, to bound the memory of their copies.
const CHUNK: i64 = 1 << 22;

/// Checks that a label map contains labels of `channels` channels only, or with `unassigned` larger ones as well.
pub fn check_labels(labels: &Tensor, channels: i64, unassigned: bool, what: &str) -> Result<()> {
    if labels.numel() == 0 {
        return Ok(());
    }
    let (low, high) = (labels.f_min()?.f_double_value(&[])?, labels.f_max()?.f_double_value(&[])?);
    // Written so that NaN is refused.
    if !(low >= 0.0 && (unassigned || high < channels as f64)) {
        bail!("the {what} contains labels from {low} to {high}, expected 0 to {}", channels - 1);
    }
    Ok(())
}

fn label_overlap(
    prediction: &Segmentation,
    target: &Segmentation,
    channels: usize,
    voxels: i64,
    keep: Option<&Tensor>,
) -> Result<Overlap> {
    let flat = |x: &Tensor| x.f_reshape([-1]);
    let map = |segmentation: &Segmentation| -> Result<(Tensor, bool)> {
        Ok(match segmentation {
            Segmentation::Labels { map, unassigned, .. } => (flat(map)?, *unassigned),
            Segmentation::Channels(_) => bail!("expected class labels, found channels"),
        })
    };
    let ((prediction, p_unassigned), (target, t_unassigned)) = (map(prediction)?, map(target)?);
    let keep = keep.map(flat).transpose()?;
    let all = target.numel() as i64;
    let mut out = Overlap { both: vec![0; channels], prediction: vec![0; channels], target: vec![0; channels], voxels };
    for start in (0..all).step_by(CHUNK as usize) {
        let chunk = |x: &Tensor| x.f_narrow(0, start, CHUNK.min(all - start));
        let labels = |x: &Tensor, unassigned: bool, what: &str| -> Result<Vec<i32>> {
            let labels = chunk(x)?;
            check_labels(&labels, channels as i64, unassigned, what)?;
            Ok(Vec::try_from(&labels.f_to_kind(Kind::Int)?.f_to_device(Device::Cpu)?)?)
        };
        let (p, t) = (labels(&prediction, p_unassigned, "prediction")?, labels(&target, t_unassigned, "target")?);
        let keep = match &keep {
            Some(keep) => Vec::try_from(&chunk(keep)?.f_to_device(Device::Cpu)?)?,
            None => vec![],
        };
        for (at, (&p, &t)) in p.iter().zip(&t).enumerate() {
            if *keep.get(at).unwrap_or(&true) {
                // Labels of no channel are not counted.
                let add = |counts: &mut [i64], label: i32| {
                    if let Some(count) = counts.get_mut(label as usize) {
                        *count += 1;
                    }
                };
                add(&mut out.prediction, p);
                add(&mut out.target, t);
                if p == t {
                    add(&mut out.both, t);
                }
            }
        }
    }
    Ok(out)
}

/// Returns a mask `[X,Y,Z]` that is false at voxels excluded by `ignore_index`
/// (`monai.metrics.utils.create_ignore_mask`).
pub fn kept(target: &Segmentation, index: i64) -> Result<Tensor> {
    let channels = target.channels() as i64;
    Ok(match target {
        Segmentation::Labels { map, .. } if (0..channels).contains(&index) => map.f_ne(index)?,
        Segmentation::Labels { map, .. } => map.f_le(channels - 1)?,
        Segmentation::Channels(x) if channels == 1 => x.f_get(0)?.f_ne(index)?,
        Segmentation::Channels(x) if (0..channels).contains(&index) => x.f_get(index)?.f_eq(0)?,
        Segmentation::Channels(x) => x.f_sum_dim_intlist([0i64].as_slice(), false, None)?.f_gt(0)?,
    })
}

/// Counts the overlap of channels `first` and up, as IoU and confusion matrices ignore an index in MONAI: the index of a
/// channel empties that channel only, another one excludes the voxels that [`kept`] excludes.
pub fn overlap_ignoring(
    prediction: &Segmentation,
    target: &Segmentation,
    first: usize,
    include_background: bool,
    ignore_index: Option<i64>,
) -> Result<Overlap> {
    let offset = i64::from(!include_background);
    let included = target.channels().saturating_sub(first) as i64;
    let channel = ignore_index.filter(|index| (0..included + offset).contains(index)).map(|index| index - offset);
    let keep = ignore_index.filter(|_| channel.is_none()).map(|index| kept(target, index)).transpose()?;
    let Overlap { both, prediction, target, voxels } = overlap(prediction, target, keep.as_ref())?;
    let [both, prediction, target] = [both, prediction, target].map(|mut counts| {
        counts.drain(..first);
        if let Some(count) = channel.and_then(|channel| counts.get_mut(usize::try_from(channel).ok()?)) {
            *count = 0;
        }
        counts
    });
    Ok(Overlap { both, prediction, target, voxels })
}
