// Convolution with 3×3×3 weights, stride 1 and zero padding 1, by Winograd's F(2×2×2, 3×3×3) (Lavin and Gray, "Fast
// algorithms for convolutional neural networks", 2015, in three dimensions): 4×4×4 input voxels give 2×2×2 outputs with
// 64 products per pair of channels instead of 216. Three steps per row of tiles along z, each on one thread, compiled
// once per instruction set (winograd.cpp) and selected at run time (convolution.cpp).
//
// Tensors are f32, channels last. A "plane" is one of the 64 transformed values of every tile and channel.
#pragma once
#include <stdint.h>

struct Winograd {
  int columns;  // output channels per step of `multiply`
  // n tiles; tile t reads z0 + 2t .. z0 + 2t + 3 of 16 lines [Z, C] (4 of x times 4 of y; null: outside). Voxels
  // outside are zero. With `scale`, voxels inside are max(0, x·scale[C] + shift[C]). v: 64 planes [n, C], `stride`
  // floats apart.
  void (*input)(const float* const lines[16], int64_t z0, int64_t n, int64_t z, int64_t c, const float* scale,
                const float* shift, float* v, int64_t stride);
  // One plane: m [n, K] = v [n, C] · u, u packed as [⌈K/columns⌉][C][columns], the last block without padding.
  void (*multiply)(const float* v, const float* u, float* m, int64_t n, int64_t c, int64_t k);
  // m: 64 planes [n, K], `stride` floats apart, to 2×2 lines (null: outside) of nz (2n or 2n - 1) voxels [nz, K]; with
  // `add`, added to the lines. sum[K], square[K] += moments of the result.
  void (*output)(const float* m, int64_t stride, int64_t n, int64_t k, float* const lines[4], int64_t nz, int add,
                 double* sum, double* square);
  // For the weights' gradient: the adjoint of `output`, from 2×2 lines (null: zeros) to 64 planes [n, K], ...
  void (*output_adjoint)(const float* const lines[4], int64_t nz, int64_t n, int64_t k, float* m, int64_t stride);
  // ... and that of `multiply`: u [C, K] += vᵀ · m.
  void (*multiply_adjoint)(const float* v, const float* m, float* u, int64_t n, int64_t c, int64_t k);
};

extern "C" const Winograd* sb_winograd_base();
extern "C" const Winograd* sb_winograd_avx2();
extern "C" const Winograd* sb_winograd_avx512();
