// 3×3×3 convolutions by Winograd's algorithm (winograd.h), parallelized over libtorch's threads. Pointers and sizes are
// checked by the caller (convolution.rs, training.cpp). Every output is computed from the same sums in the same order
// and moments are combined in a fixed order, so that results do not depend on the number of threads, except for the
// weight gradient.
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "convolution.h"
#include "errors.h"
#include "processor.h"
#include "winograd.h"

namespace {

const Winograd& winograd(int64_t c, int64_t k) { return *SB_BEST(sb_winograd, std::gcd(c, k)); }

constexpr int kPlanes = 64;

constexpr int kBlock = 16;  // output channels whose weights are transformed together
typedef double Values[kBlock];

// Transforms three weights along one axis to four: [g0, (g0+g1+g2)/2, (g0-g1+g2)/2, g2].
void spread(const Values* from, int64_t in, Values* to, int64_t out) {
  for (int i = 0; i < kBlock; ++i) {
    const double a = from[0][i], b = from[in][i], c = from[2 * in][i];
    to[0][i] = a;
    to[out][i] = (a + b + c) / 2;
    to[2 * out][i] = (a - b + c) / 2;
    to[3 * out][i] = c;
  }
}

// Transpose of `spread`: maps the gradient of four transformed weights to that of three.
void gather(const Values* from, int64_t in, Values* to, int64_t out) {
  for (int i = 0; i < kBlock; ++i) {
    const double a = from[0][i], b = from[in][i], c = from[2 * in][i], d = from[3 * in][i];
    to[0][i] = a + (b + c) / 2;
    to[out][i] = (b - c) / 2;
    to[2 * out][i] = (b + c) / 2 + d;
  }
}

// Number of tiles that are transformed, multiplied and written together: enough to reuse each weight that is read, few
// enough to stay in the cache of a core.
int64_t tiles_together(int64_t k) { return std::max<int64_t>(12, k * 3 / 8); }

// The 2×2×2 tiles of one item. A unit is a part of a row of tiles along z; units are processed in groups.
struct Tiles {
  int64_t X, Y, Z, rows_y, along_z, parts, length, units, group;

  Tiles(int64_t X, int64_t Y, int64_t Z, int64_t together) : X(X), Y(Y), Z(Z), rows_y((Y + 1) / 2), along_z((Z + 1) / 2) {
    parts = (along_z + together - 1) / together;
    length = (along_z + parts - 1) / parts;
    units = (X + 1) / 2 * rows_y * parts;
    const int64_t share = (units + at::get_num_threads() - 1) / at::get_num_threads();
    group = std::clamp<int64_t>(together / length, 1, share);
  }
  int64_t groups() const { return (units + group - 1) / group; }
  int64_t end(int64_t i) const { return std::min(units, (i + 1) * group); }
  // First tile of the unit along z, and the number of its tiles.
  std::pair<int64_t, int64_t> extent(int64_t unit) const {
    const int64_t from = unit % parts * length;
    return {from, std::min(length, along_z - from)};
  }
  // Collects `count`×`count` lines [Z, C] at voxel z, starting `before` voxels before the tiles of the unit; null:
  // outside.
  template <class T>
  void lines(int64_t unit, int count, int before, T* x, int64_t z, int64_t c, T** out) const {
    const int64_t x0 = unit / parts / rows_y * 2 - before, y0 = unit / parts % rows_y * 2 - before;
    for (int line = 0; line < count * count; ++line) {
      const int64_t lx = x0 + line / count, ly = y0 + line % count;
      out[line] = lx < 0 || lx >= X || ly < 0 || ly >= Y ? nullptr : x + ((lx * Y + ly) * Z + z) * c;
    }
  }
};

// Transforms the input of units `first` to `last` to planes; returns the number of their tiles.
int64_t transform_input(const Winograd& w, const Tiles& tiles, int64_t first, int64_t last, const float* x, const float* scale,
                        const float* shift, int64_t c, float* v, int64_t stride) {
  int64_t count = 0;
  for (int64_t unit = first; unit < last; ++unit) {
    const float* lines[16];
    tiles.lines(unit, 4, 1, x, 0, c, lines);
    const auto [from, n] = tiles.extent(unit);
    w.input(lines, 2 * from - 1, n, tiles.Z, c, scale, shift, v + count * c, stride);
    count += n;
  }
  return count;
}

constexpr int64_t kSumBytes = 256 << 20;  // limit of the memory for the sums of all threads

}  // namespace

void convolve(const float* x, const float* scale, const float* shift, int64_t X, int64_t Y, int64_t Z, int64_t c,
              const float* packed, int64_t k, float* out, bool add, double* moments) {
  const Winograd& w = winograd(c, k);
  std::fill(moments, moments + 2 * k, 0.0);
  if (X < 1 || Y < 1 || Z < 1) return;
  const Tiles tiles(X, Y, Z, tiles_together(k));
  const int64_t stride_v = tiles.group * tiles.length * c + 16, stride_m = tiles.group * tiles.length * k + 16;
  // Kept per unit, so that their sum does not depend on the number of threads.
  std::vector<double> sums(size_t(tiles.units * 2 * k), 0.0);

  at::parallel_for(0, tiles.groups(), 1, [&](int64_t begin, int64_t end) {
    const c10::DataPtr memory = c10::GetCPUAllocator()->allocate(size_t(kPlanes * (stride_v + stride_m)) * 4);
    float* v = static_cast<float*>(memory.get());
    float* m = v + kPlanes * stride_v;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * tiles.group, last = tiles.end(i);
      const int64_t count = transform_input(w, tiles, first, last, x, scale, shift, c, v, stride_v);
      for (int p = 0; p < kPlanes; ++p)
        w.multiply(v + p * stride_v, packed + p * c * k, m + p * stride_m, count, c, k);
      int64_t done = 0;
      for (int64_t unit = first; unit < last; ++unit) {
        const auto [from, n] = tiles.extent(unit);
        float* lines[4];
        tiles.lines(unit, 2, 0, out, 2 * from, k, lines);
        w.output(m + done * k, stride_m, n, k, lines, std::min(2 * n, Z - 2 * from), add, &sums[unit * 2 * k],
                 &sums[unit * 2 * k + k]);
        done += n;
      }
    }
  });
  for (int64_t unit = 0; unit < tiles.units; ++unit)
    for (int64_t i = 0; i < 2 * k; ++i) moments[i] += sums[unit * 2 * k + i];
}

void weight_gradient(const float* x, const float* scale, const float* shift, const float* g, int64_t items, int64_t X,
                     int64_t Y, int64_t Z, int64_t c, int64_t k, float* out) {
  const Winograd& w = winograd(c, k);
  const Tiles tiles(X, Y, Z, 2 * tiles_together(k));
  const int64_t groups = tiles.groups(), all = items * groups, size = kPlanes * c * k, voxels = X * Y * Z;
  const int64_t stride_v = tiles.group * tiles.length * c + 16, stride_m = tiles.group * tiles.length * k + 16;
  const int64_t chunks = std::clamp<int64_t>(std::min<int64_t>(at::get_num_threads(), kSumBytes / (4 * size)), 1, all);
  auto allocate = [](int64_t count) { return c10::GetCPUAllocator()->allocate(size_t(count) * 4); };
  const c10::DataPtr memory = allocate(chunks * size);
  float* sums = static_cast<float*>(memory.get());

  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    const c10::DataPtr scratch = allocate(kPlanes * (stride_v + stride_m));
    float* v = static_cast<float*>(scratch.get());
    float* m = v + kPlanes * stride_v;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      float* u = sums + chunk * size;
      std::fill_n(u, size, 0.f);
      for (int64_t i = all * chunk / chunks; i < all * (chunk + 1) / chunks; ++i) {
        const int64_t n = i / groups, first = i % groups * tiles.group, last = tiles.end(i % groups);
        transform_input(w, tiles, first, last, x + n * voxels * c, scale + n * c, shift + n * c, c, v, stride_v);
        int64_t count = 0;
        for (int64_t unit = first; unit < last; ++unit) {
          const auto [from, length] = tiles.extent(unit);
          const float* lines[4];
          tiles.lines(unit, 2, 0, g + n * voxels * k, 2 * from, k, lines);
          w.output_adjoint(lines, std::min(2 * length, Z - 2 * from), length, k, m + count * k, stride_m);
          count += length;
        }
        for (int p = 0; p < kPlanes; ++p)
          w.multiply_adjoint(v + p * stride_v, m + p * stride_m, u + p * c * k, count, c, k);
      }
    }
  });

  const int64_t blocks = (k + kBlock - 1) / kBlock;
  at::parallel_for(0, c * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t j = at / blocks, i = at % blocks * kBlock, width = std::min<int64_t>(kBlock, k - i);
      Values g[27], z[9 * 4], y[3 * 16], x[kPlanes] = {};
      for (int64_t chunk = 0; chunk < chunks; ++chunk)
        for (int p = 0; p < kPlanes; ++p) {
          const float* from = sums + chunk * size + (p * c + j) * k + i;
          for (int64_t n = 0; n < width; ++n) x[p][n] += from[n];
        }
      for (int b = 0; b < 16; ++b) gather(x + b, 16, y + b, 16);
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 4; ++b) gather(y + a * 16 + b, 4, z + a * 12 + b, 4);
      for (int a = 0; a < 9; ++a) gather(z + a * 4, 1, g + a * 3, 1);
      for (int64_t n = 0; n < width; ++n)
        for (int a = 0; a < 27; ++a) out[((i + n) * c + j) * 27 + a] = float(g[a][n]);
    }
  });
}

void conv3_pack(const float* w, int64_t k, int64_t c, bool adjoint, float* packed) {
  // A block of outputs either lies within one step of `multiply` or consists of whole steps.
  const int64_t columns = winograd(c, k).columns, step = std::min<int64_t>(kBlock, columns), blocks = (k + step - 1) / step;
  at::parallel_for(0, c * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t j = at / blocks, i = at % blocks * step, count = std::min(step, k - i);
      const int64_t first = i / columns * columns, width = std::min(columns, k - first);
      Values g[27] = {}, z[9 * 4], y[3 * 16], x[kPlanes];
      for (int64_t n = 0; n < count; ++n) {
        const float* from = w + (adjoint ? j * k + i + n : (i + n) * c + j) * 27;
        for (int a = 0; a < 27; ++a) g[adjoint ? 26 - a : a][n] = from[a];
      }
      for (int a = 0; a < 9; ++a) spread(g + a * 3, 1, z + a * 4, 1);
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 4; ++b) spread(z + a * 12 + b, 4, y + a * 16 + b, 4);
      for (int b = 0; b < 16; ++b) spread(y + b, 16, x + b, 16);
      float* to = packed + first * c + j * width + (i - first);
      for (int p = 0; p < kPlanes; ++p)
        for (int64_t n = 0; n < count; ++n) to[p * c * k + n] = float(x[p][n]);
    }
  });
}

extern "C" {

void sb_conv3_pack(const float* w, int64_t k, int64_t c, float* packed) { conv3_pack(w, k, c, false, packed); }

char* sb_conv3(const float* x, const float* scale, const float* shift, int64_t X, int64_t Y, int64_t Z, int64_t c,
               const float* packed, int64_t k, float* out, int add, double* moments) {
  return sb_caught([&] { convolve(x, scale, shift, X, Y, Z, c, packed, k, out, add != 0, moments); });
}
}
