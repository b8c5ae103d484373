// Passes over channels-last rows [rows, C] of one item, parallelized over libtorch's threads (kernels.cpp).
#pragma once
#include <stdint.h>

extern "C" {
void sb_moments(int element, void* x, const void* y, int64_t rows, int64_t c, double* out);
void sb_group_scale(const double* sums, int64_t c, int64_t groups, int64_t voxels, const float* weight, const float* bias,
                    double eps, float* scale, float* shift, double* mean, double* inverse);
void sb_affine(int element, const void* x, void* out, int64_t rows, int64_t c, const float* scale, const float* shift,
               int relu);
void sb_upsample(int element, const void* in, const void* skip, void* out, int64_t X, int64_t Y, int64_t Z, int64_t c,
                 double* moments);
void sb_relu_sums(const float* x, const float* g, int64_t rows, int64_t c, const float* scale, const float* shift,
                  double* out);
void sb_norm_backward(const float* x, float* g, const float* add, int64_t rows, int64_t c, const float* scale,
                      const float* shift, const float* a, const float* b, const float* d);
void sb_upsample_adjoint(const float* g, float* out, int64_t X, int64_t Y, int64_t Z, int64_t c);
}
