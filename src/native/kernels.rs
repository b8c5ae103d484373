//! Fused CPU kernels for channels-last tensors. Inner loops are in cpp/loops.cpp, threading is in cpp/kernels.cpp.
//!
//! "Channels last" is PyTorch's `channels_last_3d`: logical shape `[N,C,X,Y,Z]`, memory order `[N,X,Y,Z,C]`. Elements
//! are f32 or bf16, arithmetic is f32; sums over voxels are f64 and independent of the number of threads.

use crate::Result;
use std::os::raw::c_void;
use tch::{Device, Kind, TchError, Tensor};

unsafe extern "C" {
    fn sb_moments(element: i32, x: *mut c_void, y: *const c_void, rows: i64, c: i64, out: *mut f64);
    fn sb_affine(
        element: i32,
        x: *const c_void,
        out: *mut c_void,
        rows: i64,
        c: i64,
        scale: *const f32,
        shift: *const f32,
        relu: i32,
    );
    fn sb_group_scale(
        sums: *const f64,
        c: i64,
        groups: i64,
        voxels: i64,
        weight: *const f32,
        bias: *const f32,
        eps: f64,
        scale: *mut f32,
        shift: *mut f32,
        mean: *mut f64,
        inverse: *mut f64,
    );
    fn sb_upsample(
        element: i32,
        x: *const c_void,
        skip: *const c_void,
        out: *mut c_void,
        nx: i64,
        ny: i64,
        nz: i64,
        c: i64,
        moments: *mut f64,
    );
    fn sb_blend(
        element: i32,
        acc: *mut f32,
        acc_x: i64,
        acc_y: i64,
        total: *mut f32,
        total_x: i64,
        total_y: i64,
        features: *const c_void,
        feat_x: i64,
        feat_y: i64,
        map: *const f32,
        map_x: i64,
        map_y: i64,
        nx: i64,
        ny: i64,
        nz: i64,
        f: i64,
    );
    fn sb_head(
        acc: *const f32,
        acc_x: i64,
        acc_y: i64,
        total: *const f32,
        total_x: i64,
        total_y: i64,
        nx: i64,
        ny: i64,
        nz: i64,
        f: i64,
        k: i64,
        weight: *const f32,
        bias: *const f32,
        labels: *mut c_void,
        wide: i32,
        values: *mut f32,
        values_k: i64,
        out_x: i64,
        out_y: i64,
    );
    fn sb_argmax(
        x: *const f32,
        x_k: i64,
        x_x: i64,
        x_y: i64,
        nx: i64,
        ny: i64,
        nz: i64,
        k: i64,
        labels: *mut c_void,
        wide: i32,
        out_x: i64,
        out_y: i64,
    );
}

pub(crate) fn wrong<T>(message: String) -> Result<T> {
    Err(TchError::Shape(message))
}

/// The element code of cpp/loops.h: 0 for f32, 1 for bf16.
fn element(what: &str, x: &Tensor) -> Result<i32> {
    match x.kind() {
        Kind::Float => Ok(0),
        Kind::BFloat16 => Ok(1),
        other => Err(TchError::Kind(format!("{what}: expected f32 or bf16, found {other:?}"))),
    }
}

/// Checks that `x` is a dense CPU tensor, whose memory may be accessed by pointer.
pub(crate) fn on_cpu(what: &str, x: &Tensor) -> Result<()> {
    if x.device() != Device::Cpu || x.is_sparse() || x.is_mkldnn() {
        return wrong(format!("{what}: expected a dense tensor on the CPU, found {:?}", x.device()));
    }
    Ok(())
}

pub(crate) fn same_shape(what: &str, x: &Tensor, shape: &[i64]) -> Result<()> {
    match x.size() == shape {
        true => Ok(()),
        false => wrong(format!("{what}: expected shape {shape:?}, found {:?}", x.size())),
    }
}

/// Whether a tensor `[N,C,X,Y,Z]` is stored as `[N,X,Y,Z,C]` without gaps; strides of axes of size 1 are ignored.
pub fn is_channels_last(x: &Tensor) -> bool {
    let (size, stride) = (x.size(), x.stride());
    if size.len() != 5 {
        return false;
    }
    let mut expected = 1;
    [1, 4, 3, 2, 0].into_iter().all(|axis| {
        let fits = size[axis] == 1 || stride[axis] == expected;
        expected *= size[axis];
        fits
    })
}

/// Converts x `[N,C,X,Y,Z]` to channels-last layout with the canonical strides, so that libtorch's operators recognize
/// the layout; no copy if it already has them.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    if x.dim() != 5 {
        return wrong(format!("channels last: expected [N,C,X,Y,Z], found {:?}", x.size()));
    }
    let rows = x.f_permute([0, 2, 3, 4, 1])?;
    if is_channels_last(x) {
        // `contiguous` may keep unusual strides of axes of size 1, by which libtorch would not recognize the layout.
        let [n, c, a, b, d] = [0, 1, 2, 3, 4].map(|axis| x.size()[axis]);
        return x.f_as_strided([n, c, a, b, d], [a * b * d * c, 1, b * d * c, d * c, c], None);
    }
    rows.f_contiguous()?.f_permute([0, 4, 1, 2, 3])
}

/// Checks that `x` is a channels-last CPU tensor and returns (element code, items, rows per item, channels).
pub(crate) fn rows(what: &str, x: &Tensor) -> Result<(i32, i64, i64, i64)> {
    on_cpu(what, x)?;
    let code = element(what, x)?;
    if !is_channels_last(x) {
        return wrong(format!(
            "{what}: expected [N,C,X,Y,Z] in channels-last layout, found {:?} with strides {:?}",
            x.size(),
            x.stride()
        ));
    }
    let size = x.size();
    if size[1] == 0 {
        return wrong(format!("{what}: expected at least one channel, found {size:?}"));
    }
    Ok((code, size[0], size[2] * size[3] * size[4], size[1]))
}

/// Returns the byte address of item `n` of a channels-last tensor.
pub(crate) fn item(x: &Tensor, n: i64, rows: i64, channels: i64) -> *mut c_void {
    let bytes = n * rows * channels * x.kind().elt_size_in_bytes() as i64;
    x.data_ptr().wrapping_byte_offset(bytes as isize)
}

// ---------------------------------------------------------------- group normalization

/// Sum and sum of squares over the voxels, per item and channel, in f64.
#[derive(Debug, Clone)]
pub struct Moments {
    /// [N][2·C]: the sums, then the sums of squares.
    pub(crate) sums: Vec<Vec<f64>>,
    pub(crate) voxels: i64,
}

/// Computes the moments of x `[N,C,X,Y,Z]`, channels last.
pub fn moments(x: &Tensor) -> Result<Moments> {
    gather_moments("moments", x, None)
}

/// Computes `x += y` and the moments of the sum in one pass; both `[N,C,X,Y,Z]`, channels last, of equal dtype.
pub fn add_moments(x: &mut Tensor, y: &Tensor) -> Result<Moments> {
    let (code, ..) = rows("add", y)?;
    same_shape("add", y, &x.size())?;
    if code != element("add", x)? {
        return Err(TchError::Kind(format!("add: expected {:?}, found {:?}", x.kind(), y.kind())));
    }
    gather_moments("add", x, Some(y))
}

fn gather_moments(what: &str, x: &Tensor, y: Option<&Tensor>) -> Result<Moments> {
    let (code, items, voxels, channels) = rows(what, x)?;
    let mut sums = vec![vec![0.0; 2 * channels as usize]; items as usize];
    for (n, sums) in sums.iter_mut().enumerate() {
        let at = item(x, n as i64, voxels, channels);
        let other = y.map_or(std::ptr::null(), |y| item(y, n as i64, voxels, channels).cast_const());
        // SAFETY: `rows` has checked that x (and y, of the same shape and type) are dense channels-last CPU tensors,
        // so each item has voxels·channels elements from these addresses; x is written only through `&mut`
        // (add_moments); `sums` has room for two values per channel.
        unsafe { sb_moments(code, at, other, voxels, channels, sums.as_mut_ptr()) };
    }
    Ok(Moments { sums, voxels })
}

/// Weight and bias of a normalization, per channel.
#[derive(Debug, Clone)]
pub struct Affine {
    /// Factor of each channel.
    pub weight: Vec<f32>,
    /// Summand of each channel.
    pub bias: Vec<f32>,
}

/// Group normalization from precomputed moments of its input: y = (x − mean)/√(var + eps)·weight + bias, with mean and
/// population variance per item and group, as in `torch.nn.GroupNorm`.
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm<'a> {
    /// Moments of the input.
    pub moments: &'a Moments,
    /// Number of groups of adjacent channels.
    pub groups: usize,
    /// Weight and bias per channel.
    pub affine: &'a Affine,
    /// Added to the variance.
    pub eps: f64,
}

impl GroupNorm<'_> {
    /// Returns norm(x), or max(0, norm(x)) with `relu`, as a new tensor; x `[N,C,X,Y,Z]`, channels last.
    pub fn apply(&self, x: &Tensor, relu: bool) -> Result<Tensor> {
        let out = x.f_empty_like()?;
        self.apply_into(x, &out, relu)?;
        Ok(out)
    }

    /// In-place version of [`Self::apply`].
    pub fn apply_(&self, x: &mut Tensor, relu: bool) -> Result<()> {
        self.apply_into(x, x, relu)
    }

    fn apply_into(&self, x: &Tensor, out: &Tensor, relu: bool) -> Result<()> {
        let (code, items, voxels, channels) = rows("group norm", x)?;
        rows("group norm", out)?;
        same_shape("group norm", out, &x.size())?;
        if out.kind() != x.kind() || self.moments.sums.len() != items as usize {
            return wrong(format!("group norm: expected an output and moments that match the input {:?}", x.size()));
        }
        for n in 0..items {
            let (scale, shift) = self.scale_shift(n as usize, channels, voxels)?;
            // SAFETY: x and out are dense channels-last CPU tensors of one shape and type (checked above), so each item
            // has voxels·channels elements; scale and shift have one value per channel. Every element is read before it
            // is written, so x and out may be one.
            unsafe {
                sb_affine(
                    code,
                    item(x, n, voxels, channels),
                    item(out, n, voxels, channels),
                    voxels,
                    channels,
                    scale.as_ptr(),
                    shift.as_ptr(),
                    i32::from(relu),
                );
            }
        }
        Ok(())
    }

    /// Computes the normalization of item n as x·scale + shift per channel.
    pub(crate) fn scale_shift(&self, n: usize, channels: i64, voxels: i64) -> Result<(Vec<f32>, Vec<f32>)> {
        let (c, groups) = (channels as usize, self.groups);
        let Some(sums) = self.moments.sums.get(n).filter(|sums| sums.len() == 2 * c && self.moments.voxels == voxels)
        else {
            return wrong(format!("group norm: expected the moments of {channels} channels and {voxels} voxels"));
        };
        let (weights, biases) = (self.affine.weight.len(), self.affine.bias.len());
        if groups == 0 || !c.is_multiple_of(groups) || weights != c || biases != c {
            return wrong(format!(
                "group norm: {c} channels do not match {groups} groups, {weights} weights and {biases} biases"
            ));
        }
        let (mut scale, mut shift) = (vec![0.0; c], vec![0.0; c]);
        let (mut mean, mut inverse) = (vec![0.0; groups], vec![0.0; groups]);
        // SAFETY: sums has two values per channel, weight, bias, scale and shift one, mean and inverse one per group, and
        // the groups divide the channels (checked above).
        unsafe {
            sb_group_scale(
                sums.as_ptr(),
                channels,
                groups as i64,
                voxels,
                self.affine.weight.as_ptr(),
                self.affine.bias.as_ptr(),
                self.eps,
                scale.as_mut_ptr(),
                shift.as_mut_ptr(),
                mean.as_mut_ptr(),
                inverse.as_mut_ptr(),
            );
        }
        Ok((scale, shift))
    }
}

// ---------------------------------------------------------------- upsampling

/// Computes `skip += upsample(x)` and the moments of the sum: x `[N,C,X,Y,Z]` is trilinearly upsampled by 2
/// (`align_corners=False`), skip `[N,C,2X,2Y,2Z]`; both channels last, of equal dtype.
pub fn upsample_add(x: &Tensor, skip: &mut Tensor) -> Result<Moments> {
    let (code, items, voxels, channels) = rows("upsample", x)?;
    rows("upsample", skip)?;
    let size = x.size();
    same_shape("upsample", skip, &[items, channels, 2 * size[2], 2 * size[3], 2 * size[4]])?;
    if skip.kind() != x.kind() {
        return Err(TchError::Kind(format!("upsample: expected {:?}, found {:?}", x.kind(), skip.kind())));
    }
    let mut sums = vec![vec![0.0; 2 * channels as usize]; items as usize];
    for (n, sums) in sums.iter_mut().enumerate() {
        let at = item(skip, n as i64, 8 * voxels, channels);
        // SAFETY: both are dense channels-last CPU tensors of one type and the shapes checked above; skip is held
        // mutably and each of its elements is read before it is written; `sums` has two values per channel.
        unsafe {
            sb_upsample(
                code,
                item(x, n as i64, voxels, channels),
                at,
                at,
                size[2],
                size[3],
                size[4],
                channels,
                sums.as_mut_ptr(),
            );
        }
    }
    Ok(Moments { sums, voxels: 8 * voxels })
}

// ---------------------------------------------------------------- blending windows

/// A box of voxels within a grid: start and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Box3 {
    /// First voxel.
    pub start: [usize; 3],
    /// Number of voxels along X, Y, Z.
    pub size: [usize; 3],
}

/// Checks a tensor `[X,Y,Z,F]` (`inner` = F) or `[X,Y,Z]` (`inner` = `None`) whose voxels are adjacent along z, and
/// returns its sizes and the strides of x and y.
fn lines(what: &str, x: &Tensor, kind: Kind, inner: Option<i64>) -> Result<([i64; 3], [i64; 2])> {
    on_cpu(what, x)?;
    let (size, stride) = (x.size(), x.stride());
    let f = inner.unwrap_or(1);
    let axes = 3 + usize::from(inner.is_some());
    if x.kind() != kind
        || size.len() != axes
        || (inner.is_some() && (size[3] != f || (f > 1 && stride[3] != 1)))
        || stride.iter().any(|&s| s < 0)
    {
        return wrong(format!(
            "{what}: expected {kind:?} [X,Y,Z{}], found {:?} {size:?}",
            if inner.is_some() { ",F]" } else { "]" },
            x.kind()
        ));
    }
    if size[2] > 1 && stride[2] != f {
        return wrong(format!("{what}: expected adjacent voxels along z, found strides {stride:?}"));
    }
    Ok(([size[0], size[1], size[2]], [stride[0], stride[1]]))
}

/// Adds one window: `acc += map·features`, `total += map`, for the part of the window that lies in the slab.
///
/// acc `[X,Y,Z,F]` and total `[X,Y,Z]` f32 (views with adjacent z are fine); features `[1,F,x,y,z]` f32 or bf16,
/// channels last; map `[x,y,z]` f32, contiguous; `at` is the window's start in the slab's voxels and may be negative.
pub fn blend(acc: &mut Tensor, total: &mut Tensor, features: &Tensor, map: &Tensor, at: [i64; 3]) -> Result<()> {
    let (code, items, _, f) = rows("blend", features)?;
    let (slab, acc_stride) = lines("blend: accumulator", acc, Kind::Float, Some(f))?;
    let (weights, total_stride) = lines("blend: weights", total, Kind::Float, None)?;
    let (window, map_stride) = lines("blend: importance map", map, Kind::Float, None)?;
    if items != 1 || features.size()[2..] != window || weights != slab {
        return wrong(format!(
            "blend: features {:?}, map {window:?}, accumulator {slab:?} and weights {weights:?} do not match",
            features.size()
        ));
    }
    let (mut from, mut to, mut count) = ([0; 3], [0; 3], [0; 3]);
    for axis in 0..3 {
        let Some(end) = at[axis].checked_add(window[axis]) else { return Ok(()) };
        to[axis] = at[axis].max(0);
        from[axis] = to[axis] - at[axis];
        count[axis] = end.min(slab[axis]) - to[axis];
        if count[axis] <= 0 {
            return Ok(());
        }
    }
    let offset = |at: [i64; 3], stride: [i64; 2], z: i64| (at[0] * stride[0] + at[1] * stride[1] + at[2] * z) as isize;
    let feat_stride = [window[1] * window[2] * f, window[2] * f];
    let bytes = features.kind().elt_size_in_bytes() as isize;
    // SAFETY: the box [to, to+count) lies in the slab and [from, from+count) in the window, both checked axis by axis
    // above; strides are the tensors' own; along z voxels are adjacent (`lines`, `rows`). acc and total are held
    // mutably.
    unsafe {
        sb_blend(
            code,
            acc.data_ptr().cast::<f32>().offset(offset(to, acc_stride, f)),
            acc_stride[0],
            acc_stride[1],
            total.data_ptr().cast::<f32>().offset(offset(to, total_stride, 1)),
            total_stride[0],
            total_stride[1],
            features.data_ptr().byte_offset(offset(from, feat_stride, f) * bytes),
            feat_stride[0],
            feat_stride[1],
            map.data_ptr().cast::<f32>().offset(offset(from, map_stride, 1)),
            map_stride[0],
            map_stride[1],
            count[0],
            count[1],
            count[2],
            f,
        );
    }
    Ok(())
}

// ---------------------------------------------------------------- the last layer, and argmax

/// A mutable label map `[X,Y,Z]` in C order.
pub enum LabelsMut<'a> {
    /// For up to 256 classes.
    U8(&'a mut [u8]),
    /// For up to 65536 classes.
    U16(&'a mut [u16]),
}

impl LabelsMut<'_> {
    /// Checks that the box and the number of classes fit the map, and returns the address of the first voxel of the box
    /// and whether labels are u16.
    fn at(&mut self, shape: [usize; 3], region: Box3, classes: i64) -> Result<(*mut c_void, i32)> {
        let len = match self {
            LabelsMut::U8(labels) => labels.len(),
            LabelsMut::U16(labels) => labels.len(),
        };
        let voxels = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        let inside =
            (0..3).all(|axis| region.start[axis].checked_add(region.size[axis]).is_some_and(|end| end <= shape[axis]));
        if voxels != Some(len) || !inside {
            return wrong(format!("labels: {region:?} does not fit a map of {shape:?} with {len} voxels"));
        }
        let most = if matches!(self, LabelsMut::U8(_)) { 1 << 8 } else { 1 << 16 };
        if classes < 1 || classes > most {
            return wrong(format!("labels: expected 1 to {most} classes, found {classes}"));
        }
        let [x, y, z] = region.start;
        // For an empty box at the far corner this is one past the end, and is never dereferenced.
        let first = ((x * shape[1] + y) * shape[2] + z).min(len);
        Ok(match self {
            LabelsMut::U8(labels) => (labels[first..].as_mut_ptr().cast(), 0),
            LabelsMut::U16(labels) => (labels[first..].as_mut_ptr().cast(), 1),
        })
    }
}

struct Head {
    slab: [i64; 3],
    acc: [i64; 2],
    total: [i64; 2],
    f: i64,
    k: i64,
    weight: Tensor,
    bias: Tensor,
}

fn head(acc: &Tensor, total: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Head> {
    let size = weight.size();
    let [k, f] = size[..] else { return wrong(format!("head: expected a weight of [K,F], found {size:?}")) };
    let (slab, acc_stride) = lines("head: accumulator", acc, Kind::Float, Some(f))?;
    let (weights, total_stride) = lines("head: weights", total, Kind::Float, None)?;
    if weights != slab {
        return wrong(format!("head: accumulator {slab:?} and weights {weights:?} differ"));
    }
    if f < 1 || k < 1 {
        return wrong(format!("head: expected a weight of [K,F], found {size:?}"));
    }
    on_cpu("head", weight)?;
    let weight = weight.f_to_kind(Kind::Float)?.f_contiguous()?;
    let bias = match bias {
        Some(bias) => bias.f_to_kind(Kind::Float)?.f_contiguous()?,
        None => Tensor::f_zeros([k], (Kind::Float, Device::Cpu))?,
    };
    on_cpu("head", &bias)?;
    same_shape("head: bias", &bias, &[k])?;
    Ok(Head { slab, acc: acc_stride, total: total_stride, f, k, weight, bias })
}

/// Computes the argmax over classes of `weight·(acc/total) + bias` per voxel in f32, without storing the values of all
/// classes. Ties and NaN as in `torch.argmax`: the first of equal values wins, and NaN counts as the largest.
///
/// acc `[x,y,z,F]`, total `[x,y,z]` f32: blended features and their weights; weight `[K,F]`, bias `[K]`. Labels are
/// written to the box `start`..`start`+`[x,y,z]` of the label map.
pub fn head_argmax(
    acc: &Tensor,
    total: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    mut labels: LabelsMut,
    shape: [usize; 3],
    start: [usize; 3],
) -> Result<()> {
    let h = head(acc, total, weight, bias)?;
    let region = Box3 { start, size: h.slab.map(|n| n as usize) };
    let (to, wide) = labels.at(shape, region, h.k)?;
    // SAFETY: `head` has checked sizes and strides of all inputs, `at` that the box lies in the label map; labels are
    // held mutably.
    unsafe { run_head(acc, total, &h, (to, wide), (std::ptr::null_mut(), 0), [shape[1] * shape[2], shape[2]]) };
    Ok(())
}

/// Computes `weight·(acc/total) + bias` as f32 `[K,x,y,z]`; arguments as in [`head_argmax`].
pub fn head_logits(acc: &Tensor, total: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let h = head(acc, total, weight, bias)?;
    let [x, y, z] = h.slab;
    let out = Tensor::f_empty([h.k, x, y, z], (Kind::Float, Device::Cpu))?;
    let values = (out.data_ptr().cast(), x * y * z);
    // SAFETY: `head` has checked sizes and strides of all inputs; `out` is new, contiguous and has their shape.
    unsafe { run_head(acc, total, &h, (std::ptr::null_mut(), 0), values, [(y * z) as usize, z as usize]) };
    Ok(out)
}

/// # Safety
/// `h` describes acc and total; exactly one output is not null and has room for all voxels at strides `out`.
unsafe fn run_head(
    acc: &Tensor,
    total: &Tensor,
    h: &Head,
    labels: (*mut c_void, i32),
    values: (*mut f32, i64),
    out: [usize; 2],
) {
    // SAFETY: by this function's contract.
    unsafe {
        sb_head(
            acc.data_ptr().cast(),
            h.acc[0],
            h.acc[1],
            total.data_ptr().cast(),
            h.total[0],
            h.total[1],
            h.slab[0],
            h.slab[1],
            h.slab[2],
            h.f,
            h.k,
            h.weight.data_ptr().cast(),
            h.bias.data_ptr().cast(),
            labels.0,
            labels.1,
            values.0,
            values.1,
            out[0] as i64,
            out[1] as i64,
        );
    }
}

/// Borrows the elements of a contiguous f32 tensor in host memory. As with all functions here, nothing may write to the
/// tensor meanwhile.
pub fn elements(x: &Tensor) -> Result<&[f32]> {
    on_cpu("elements", x)?;
    if x.kind() != Kind::Float || !x.is_contiguous() {
        return wrong(format!("elements: expected a contiguous f32 tensor, found {:?} {:?}", x.kind(), x.stride()));
    }
    if x.numel() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the tensor is contiguous, so `numel` elements lie at its data pointer, and it lives as long as the borrow.
    Ok(unsafe { std::slice::from_raw_parts(x.data_ptr().cast(), x.numel()) })
}

/// Writes `torch.argmax(x, 0)` of x `[K,x,y,z]` f32 into a box of a label map.
pub fn argmax(x: &Tensor, mut labels: LabelsMut, shape: [usize; 3], start: [usize; 3]) -> Result<()> {
    on_cpu("argmax", x)?;
    let (size, stride) = (x.size(), x.stride());
    let ([k, nx, ny, nz], [sk, sx, sy, sz]) = (&size[..], &stride[..]) else {
        return wrong(format!("argmax: expected [K,X,Y,Z], found {size:?}"));
    };
    if x.kind() != Kind::Float || (*nz > 1 && *sz != 1) || stride.iter().any(|&s| s < 0) {
        return wrong(format!(
            "argmax: expected f32 with adjacent voxels along z, found {:?} with strides {stride:?}",
            x.kind()
        ));
    }
    let (to, wide) = labels.at(shape, Box3 { start, size: [*nx as usize, *ny as usize, *nz as usize] }, *k)?;
    // SAFETY: sizes and strides are the tensor's own, voxels along z are adjacent, and `at` has checked that the box
    // lies in the label map, which is held mutably.
    unsafe {
        sb_argmax(
            x.data_ptr().cast(),
            *sk,
            *sx,
            *sy,
            *nx,
            *ny,
            *nz,
            *k,
            to,
            wide,
            (shape[1] * shape[2]) as i64,
            shape[2] as i64,
        );
    }
    Ok(())
}
