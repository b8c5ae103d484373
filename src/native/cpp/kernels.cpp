// The fused kernels: the inner loops (loops.h), parallelized over libtorch's threads. Pointers and sizes are checked by
// the caller (kernels.rs). Sums are computed over chunks of a fixed size and combined in order, so that results do not
// depend on the number of threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels.h"
#include "loops.h"
#include "processor.h"

namespace {

const Loops& loops(int64_t channels = kAnyWidth) { return *SB_BEST(sb_loops, channels); }

constexpr int64_t kChunkBytes = 256 << 10;

int64_t element_size(int element) { return element == kF32 ? 4 : 2; }

// Calls `work(chunk, sum, square)` for every chunk and adds the partial sums to out[0..c] and out[c..2c] in order.
template <class Work>
void summed(int64_t chunks, int64_t c, double* out, const Work& work) {
  std::vector<double> partial(size_t(chunks * 2 * c), 0.0);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i, &partial[i * 2 * c], &partial[i * 2 * c + c]);
  });
  std::fill(out, out + 2 * c, 0.0);
  for (int64_t i = 0; i < chunks; ++i)
    for (int64_t k = 0; k < 2 * c; ++k) out[k] += partial[i * 2 * c + k];
}

}  // namespace

extern "C" {

// y null: moments of x; else x += y first. out: sums and sums of squares, [2, C].
void sb_moments(int element, void* x, const void* y, int64_t rows, int64_t c, double* out) {
  const int64_t size = element_size(element), step = std::max<int64_t>(1, kChunkBytes / (size * c));
  summed((rows + step - 1) / step, c, out, [&](int64_t i, double* sum, double* square) {
    const int64_t from = i * step, count = std::min(step, rows - from), at = from * c * size;
    char* px = static_cast<char*>(x) + at;
    if (y)
      loops().add_moments(element, px, static_cast<const char*>(y) + at, count, c, sum, square);
    else
      loops().moments(element, px, count, c, sum, square);
  });
}

// Group normalization of one item as x·scale[C] + shift[C], from sums and sums of squares [2, C]; mean and inverse =
// 1/√(variance + eps) are per group.
void sb_group_scale(const double* sums, int64_t c, int64_t groups, int64_t voxels, const float* weight, const float* bias,
                    double eps, float* scale, float* shift, double* mean, double* inverse) {
  const int64_t each = c / groups;
  const double count = double(each * voxels);
  for (int64_t group = 0; group < groups; ++group) {
    double sum = 0, square = 0;
    for (int64_t k = group * each; k < (group + 1) * each; ++k) sum += sums[k], square += sums[c + k];
    mean[group] = sum / count;
    // Clamp negative rounding errors to zero; keep NaN.
    const double variance = square / count - mean[group] * mean[group];
    inverse[group] = 1 / std::sqrt((variance < 0 ? 0 : variance) + eps);
    for (int64_t k = group * each; k < (group + 1) * each; ++k) {
      const double gain = weight[k] * inverse[group];
      scale[k] = float(gain);
      shift[k] = float(bias[k] - mean[group] * gain);
    }
  }
}

void sb_affine(int element, const void* x, void* out, int64_t rows, int64_t c, const float* scale, const float* shift,
               int relu) {
  const int64_t size = element_size(element), grain = std::max<int64_t>(1, kChunkBytes / (size * c));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * c * size;
    loops().affine(element, static_cast<const char*>(x) + at, static_cast<char*>(out) + at, end - begin, c, scale,
                   shift, relu);
  });
}

// in [X, Y, Z, C], skip and out [2X, 2Y, 2Z, C] (may be identical); moments of out.
void sb_upsample(int element, const void* in, const void* skip, void* out, int64_t X, int64_t Y, int64_t Z, int64_t c,
                 double* moments) {
  const int64_t size = element_size(element), line = Z * c * size;
  // One chunk is an x' plane, whose lines share two source planes.
  summed(2 * X, c, moments, [&](int64_t ox, double* sum, double* square) {
    std::vector<float> scratch(size_t(Z * c));
    const int64_t x0 = ox / 2, x1 = std::clamp<int64_t>(ox & 1 ? x0 + 1 : x0 - 1, 0, X - 1);
    for (int64_t oy = 0; oy < 2 * Y; ++oy) {
      const int64_t y0 = oy / 2, y1 = std::clamp<int64_t>(oy & 1 ? y0 + 1 : y0 - 1, 0, Y - 1);
      const char* base = static_cast<const char*>(in);
      const void* lines[4] = {base + (x0 * Y + y0) * line, base + (x0 * Y + y1) * line, base + (x1 * Y + y0) * line,
                              base + (x1 * Y + y1) * line};
      const float weights[4] = {0.5625f, 0.1875f, 0.1875f, 0.0625f};
      const int64_t at = (ox * 2 * Y + oy) * 2 * line;
      loops().upsample(element, lines, weights, Z, c, static_cast<const char*>(skip) + at,
                       static_cast<char*>(out) + at, scratch.data(), sum, square);
    }
  });
}

// out [2, C]: sums over the rows of g and g·x, with g masked by relu(x·scale + shift).
void sb_relu_sums(const float* x, const float* g, int64_t rows, int64_t c, const float* scale, const float* shift,
                  double* out) {
  const int64_t step = std::max<int64_t>(1, kChunkBytes / (8 * c));
  summed((rows + step - 1) / step, c, out, [&](int64_t i, double* sum, double* product) {
    const int64_t from = i * step * c, count = std::min(step, rows - i * step);
    loops(c).relu_sums(x + from, g + from, count, c, scale, shift, sum, product);
  });
}

void sb_norm_backward(const float* x, float* g, const float* add, int64_t rows, int64_t c, const float* scale,
                      const float* shift, const float* a, const float* b, const float* d) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kChunkBytes / (8 * c)), [&](int64_t begin, int64_t end) {
    const int64_t from = begin * c;
    loops(c).norm_backward(x + from, g + from, add ? add + from : nullptr, end - begin, c, scale, shift, a, b, d);
  });
}

// g [2X, 2Y, 2Z, C] to out [X, Y, Z, C].
void sb_upsample_adjoint(const float* g, float* out, int64_t X, int64_t Y, int64_t Z, int64_t c) {
  const int64_t line = 2 * Z * c;
  const float weight[4] = {0.25f, 0.75f, 0.75f, 0.25f};
  at::parallel_for(0, X * Y, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(line));
    for (int64_t i = begin; i < end; ++i) {
      const float* lines[16];
      float weights[16];
      for (int tap = 0; tap < 16; ++tap) {
        const int64_t x = std::clamp<int64_t>(2 * (i / Y) - 1 + tap / 4, 0, 2 * X - 1);
        const int64_t y = std::clamp<int64_t>(2 * (i % Y) - 1 + tap % 4, 0, 2 * Y - 1);
        lines[tap] = g + (x * 2 * Y + y) * line;
        weights[tap] = weight[tap / 4] * weight[tap % 4];
      }
      loops(c).upsample_adjoint(lines, weights, Z, c, out + i * Z * c, scratch.data());
    }
  });
}

// A box of nx × ny lines of nz voxels; strides of x and y in elements.
void sb_blend(int element, float* acc, int64_t acc_x, int64_t acc_y, float* total, int64_t total_x, int64_t total_y,
              const void* features, int64_t feat_x, int64_t feat_y, const float* map, int64_t map_x, int64_t map_y,
              int64_t nx, int64_t ny, int64_t nz, int64_t f) {
  const int64_t size = element_size(element);
  at::parallel_for(0, nx * ny, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t x = i / ny, y = i % ny;
      loops().blend(element, acc + x * acc_x + y * acc_y, total + x * total_x + y * total_y,
                    static_cast<const char*>(features) + (x * feat_x + y * feat_y) * size, map + x * map_x + y * map_y,
                    nz, f);
    }
  });
}

// labels (u8, or u16 if wide) or, if null, values (class stride values_k).
void sb_head(const float* acc, int64_t acc_x, int64_t acc_y, const float* total, int64_t total_x, int64_t total_y,
             int64_t nx, int64_t ny, int64_t nz, int64_t f, int64_t k, const float* weight, const float* bias,
             void* labels, int wide, float* values, int64_t values_k, int64_t out_x, int64_t out_y) {
  const Loops& l = loops();
  const int64_t blocks = (k + l.block - 1) / l.block;
  std::vector<float> packed(size_t(blocks * l.block * f), 0.f);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < f; ++j) packed[(i / l.block * f + j) * l.block + i % l.block] = weight[i * f + j];
  at::parallel_for(0, nx * ny, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(size_t(l.tile * f));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t x = i / ny, y = i % ny, to = x * out_x + y * out_y;
      const float* a = acc + x * acc_x + y * acc_y;
      const float* t = total + x * total_x + y * total_y;
      if (labels)
        l.head_argmax(a, t, nz, f, k, packed.data(), bias, scratch.data(),
                      static_cast<char*>(labels) + to * (wide ? 2 : 1), wide);
      else
        l.head_values(a, t, nz, f, k, packed.data(), bias, scratch.data(), values + to, values_k);
    }
  });
}

// x [K, nx, ny, nz] with strides x_k, x_x, x_y, 1.
void sb_argmax(const float* x, int64_t x_k, int64_t x_x, int64_t x_y, int64_t nx, int64_t ny, int64_t nz, int64_t k,
               void* labels, int wide, int64_t out_x, int64_t out_y) {
  at::parallel_for(0, nx * ny, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t a = i / ny, b = i % ny;
      for (int64_t z = 0; z < nz; z += kArgmaxSpan)
        loops().argmax(x + a * x_x + b * x_y + z, std::min<int64_t>(kArgmaxSpan, nz - z), k, x_k,
                       static_cast<char*>(labels) + (a * out_x + b * out_y + z) * (wide ? 2 : 1), wide);
    }
  });
}
}
