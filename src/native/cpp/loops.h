// The inner loops of the fused kernels, compiled once per instruction set (loops.cpp) and selected at run time
// (kernels.cpp). All functions are single-threaded and operate on rows of channels: a channels-last tensor [rows, C].
#pragma once
#include <stdint.h>

enum Element { kF32 = 0, kBF16 = 1 };

struct Loops {
  int tile;  // voxels per step of `head`
  int block; // classes per step of `head`
  // sum[C] += x, square[C] += x*x, in f64.
  void (*moments)(int element, const void* x, int64_t rows, int64_t c, double* sum, double* square);
  // x += y; sum and square: moments of the result.
  void (*add_moments)(int element, void* x, const void* y, int64_t rows, int64_t c, double* sum, double* square);
  // out = x*scale[C] + shift[C], then max(0, ·) if relu.
  void (*affine)(int element, const void* x, void* out, int64_t rows, int64_t c, const float* scale, const float* shift,
                 int relu);
  // One output line (x', y', all z') of trilinear upsampling by 2, plus `skip`; `lines`: the four source lines [z, C]
  // with their `weights`; line: scratch of z*C floats. sum and square: moments of the result.
  void (*upsample)(int element, const void* const lines[4], const float weights[4], int64_t z, int64_t c,
                   const void* skip, void* out, float* line, double* sum, double* square);
  // Backward of `affine` with relu, f32: g where its result is positive, else 0; sum[C] += g, product[C] += g*x, in f64.
  void (*relu_sums)(const float* x, const float* g, int64_t rows, int64_t c, const float* scale, const float* shift,
                    double* sum, double* product);
  // g = a[C]*g + b[C]*x + d[C] with the same g, plus `add` unless it is null.
  void (*norm_backward)(const float* x, float* g, const float* add, int64_t rows, int64_t c, const float* scale,
                        const float* shift, const float* a, const float* b, const float* d);
  // The adjoint of `upsample` for one source line, f32: out [z, C] from the 4×4 lines [2z, C] to which it contributes;
  // line: scratch of 2z*C floats.
  void (*upsample_adjoint)(const float* const lines[16], const float weights[16], int64_t z, int64_t c, float* out,
                           float* line);
  // acc[n, F] += w[n] * x[n, F]; total[n] += w[n].
  void (*blend)(int element, float* acc, float* total, const void* x, const float* w, int64_t n, int64_t f);
  // For n voxels: v[k] = bias[k] + Σ_f weight[k,f]·acc[f]/total. Either the class of the largest v, as u8 or u16
  // (`wide`), or all of v into out[k*stride + voxel]. packed: [ceil(K/block)][F][block]. scratch: tile*F floats.
  void (*head_argmax)(const float* acc, const float* total, int64_t n, int64_t f, int64_t k, const float* packed,
                      const float* bias, float* scratch, void* out, int wide);
  void (*head_values)(const float* acc, const float* total, int64_t n, int64_t f, int64_t k, const float* packed,
                      const float* bias, float* scratch, float* out, int64_t stride);
  // The channel of the largest value of x[k*stride + voxel] for n <= kArgmaxSpan voxels.
  void (*argmax)(const float* x, int64_t n, int64_t k, int64_t stride, void* out, int wide);
};

enum { kArgmaxSpan = 1024 };

extern "C" const Loops* sb_loops_base();
extern "C" const Loops* sb_loops_avx2();
extern "C" const Loops* sb_loops_avx512();
