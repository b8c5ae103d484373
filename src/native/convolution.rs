//! 3×3×3 convolutions with stride 1 and padding 1 on the CPU, in f32, by Winograd's algorithm: 64 products where the
//! direct sum takes 216. The neighboring operations of a residual block are fused into the same pass: the group
//! normalization and ReLU before the convolution, the addition and the moments for the next normalization after it.
//!
//! Inner loops are in cpp/winograd.cpp, threading is in cpp/convolution.cpp. Results differ from the direct sum by
//! about its own rounding error; an infinity or NaN spreads up to one voxel farther.

use crate::Result;
use crate::kernels::{GroupNorm, Moments, item, rows, same_shape, wrong};
use crate::label_sums::checked;
use std::os::raw::c_char;
use tch::{Device, Kind, TchError, Tensor};

unsafe extern "C" {
    fn sb_conv3_pack(w: *const f32, k: i64, c: i64, packed: *mut f32);
    fn sb_conv3(
        x: *const f32,
        scale: *const f32,
        shift: *const f32,
        nx: i64,
        ny: i64,
        nz: i64,
        c: i64,
        packed: *const f32,
        k: i64,
        out: *mut f32,
        add: i32,
        moments: *mut f64,
    ) -> *mut c_char;
}

/// Whether `channels` is a multiple of 4, the width of the narrowest vectors, which these convolutions require. They
/// use the widest vectors of the CPU that the channels fill.
pub fn fills_vectors(channels: i64) -> bool {
    channels > 0 && channels % 4 == 0
}

/// The transformed weights of a convolution; 64/27 of the original size.
#[derive(Debug)]
pub struct Conv3 {
    /// Transformed weights, f32 [64·C·K].
    packed: Tensor,
    inputs: i64,
    outputs: i64,
}

impl Conv3 {
    /// Transforms a weight `[K,C,3,3,3]` (f32, CPU); `None` if C or K is not a multiple of 4.
    pub fn new(weight: &Tensor) -> Result<Option<Conv3>> {
        let size = weight.size();
        if size.len() != 5 || size[2..] != [3, 3, 3] || weight.kind() != Kind::Float || weight.device() != Device::Cpu {
            return wrong(format!(
                "convolution: expected an f32 weight [K,C,3,3,3] on the CPU, found {:?} {size:?}",
                weight.kind()
            ));
        }
        let (outputs, inputs) = (size[0], size[1]);
        if !fills_vectors(inputs) || !fills_vectors(outputs) {
            return Ok(None);
        }
        let weight = weight.f_contiguous()?;
        let packed = Tensor::f_empty([64 * inputs * outputs], (Kind::Float, Device::Cpu))?;
        // SAFETY: weight is a contiguous f32 tensor of K·C·27 elements, packed one of 64·C·K, held by this function.
        unsafe { sb_conv3_pack(weight.data_ptr().cast(), outputs, inputs, packed.data_ptr().cast()) };
        Ok(Some(Conv3 { packed, inputs, outputs }))
    }

    /// Computes conv(relu(norm(x))) and its moments: x `[N,C,X,Y,Z]` f32, channels last → `[N,K,X,Y,Z]`.
    pub fn forward(&self, x: &Tensor, norm: &GroupNorm) -> Result<(Tensor, Moments)> {
        let size = x.size();
        if size.len() != 5 {
            return wrong(format!("convolution: expected [N,C,X,Y,Z], found {size:?}"));
        }
        let [n, k, a, b, d] = [size[0], self.outputs, size[2], size[3], size[4]];
        let out = Tensor::f_empty([n * a * b * d * k], (Kind::Float, Device::Cpu))?;
        let out = out.f_as_strided([n, k, a, b, d], [a * b * d * k, 1, b * d * k, d * k, k], None)?;
        let moments = self.run(x, norm, &out, false)?;
        Ok((out, moments))
    }

    /// Computes `onto += conv(relu(norm(x)))` and the moments of the sum; `onto` `[N,K,X,Y,Z]` f32, channels last.
    pub fn forward_add(&self, x: &Tensor, norm: &GroupNorm, onto: &mut Tensor) -> Result<Moments> {
        self.run(x, norm, onto, true)
    }

    fn run(&self, x: &Tensor, norm: &GroupNorm, out: &Tensor, add: bool) -> Result<Moments> {
        let (code, items, voxels, channels) = rows("convolution", x)?;
        let (out_code, ..) = rows("convolution", out)?;
        let size = x.size();
        if code != 0 || out_code != 0 {
            return Err(TchError::Kind(format!(
                "convolution: expected f32, found {:?} and {:?}",
                x.kind(),
                out.kind()
            )));
        }
        if channels != self.inputs {
            return wrong(format!("convolution: expected {} channels, found {size:?}", self.inputs));
        }
        same_shape("convolution", out, &[items, self.outputs, size[2], size[3], size[4]])?;
        if x.data_ptr() == out.data_ptr() {
            return wrong("convolution: expected an output that is not the input".into());
        }
        let mut sums = vec![vec![0.0; 2 * self.outputs as usize]; items as usize];
        for (n, sums) in sums.iter_mut().enumerate() {
            let (scale, shift) = norm.scale_shift(n, channels, voxels)?;
            // SAFETY: x and out are two dense channels-last f32 CPU tensors of N·X·Y·Z·C and N·X·Y·Z·K elements
            // (checked above); out is new or held mutably; `packed` has 64·C·K elements for these C and K; scale and
            // shift have one value per input channel, `sums` two per output channel.
            checked(unsafe {
                sb_conv3(
                    item(x, n as i64, voxels, channels).cast(),
                    scale.as_ptr(),
                    shift.as_ptr(),
                    size[2],
                    size[3],
                    size[4],
                    channels,
                    self.packed.data_ptr().cast(),
                    self.outputs,
                    item(out, n as i64, voxels, self.outputs).cast(),
                    i32::from(add),
                    sums.as_mut_ptr(),
                )
            })?;
        }
        Ok(Moments { sums, voxels })
    }
}
