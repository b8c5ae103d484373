// 3×3×3 convolutions with stride 1 and zero padding 1 (convolution.cpp), f32, channels last.
#pragma once
#include <cstdint>

// The numbers of input and output channels, C and K, must be multiples of 4.

// Transforms w [K, C, 3, 3, 3] to the 64·C·K values that `convolve` reads. With `adjoint`, w is [C, K, 3, 3, 3], and
// the packed convolution maps the gradient of w's output to the gradient of its input.
void conv3_pack(const float* w, int64_t k, int64_t c, bool adjoint, float* packed);

// Convolves one item: x [X, Y, Z, C] is written to or added to out [X, Y, Z, K]. x is replaced by max(0, x·scale +
// shift) per channel unless scale and shift are null. moments [2, K]: sums and sums of squares of out. out must not be
// x.
void convolve(const float* x, const float* scale, const float* shift, int64_t X, int64_t Y, int64_t Z, int64_t c,
              const float* packed, int64_t k, float* out, bool add, double* moments);

// Computes the gradient of the weights [K, C, 3, 3, 3] from the gradient g [N, X, Y, Z, K] of the output; x [N, X, Y,
// Z, C], scale and shift [N, C] as above.
void weight_gradient(const float* x, const float* scale, const float* shift, const float* g, int64_t items, int64_t X,
                     int64_t Y, int64_t Z, int64_t c, int64_t k, float* out);
