// 3×3×3 convolutions by Winograd's algorithm (winograd.h), spread over libtorch's threads. Pointers and sizes were
// checked by the caller (convolution.rs). Every output is made of the same sums in the same order and moments are joined
// in a fixed order, so results do not depend on the number of threads.
#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <vector>

#include "errors.h"
#include "processor.h"
#include "winograd.h"

namespace {

const Winograd& winograd() {
  static const Winograd* chosen = SB_BEST(sb_winograd);
  return *chosen;
}

constexpr int kPlanes = 64;

// Three weights along one axis to four: [g0, (g0+g1+g2)/2, (g0-g1+g2)/2, g2].
void spread(const double* from, int64_t in, double* to, int64_t out) {
  const double a = from[0], b = from[in], c = from[2 * in];
  to[0] = a;
  to[out] = (a + b + c) / 2;
  to[2 * out] = (a - b + c) / 2;
  to[3 * out] = c;
}

// Tiles that are transformed, multiplied and written together: enough to make use of each weight that is read, few
// enough that they stay in a core's cache.
int64_t tiles_together(int64_t k) { return std::max<int64_t>(12, k * 3 / 8); }

// One item: x [X, Y, Z, C] to out [X, Y, Z, K]; scale and shift null: x as it is. out must not be x.
void convolve(const float* x, const float* scale, const float* shift, int64_t X, int64_t Y, int64_t Z, int64_t c,
              const float* packed, int64_t k, float* out, int add, double* moments) {
  const Winograd& w = winograd();
  std::fill(moments, moments + 2 * k, 0.0);
  if (X < 1 || Y < 1 || Z < 1) return;
  const int64_t ty = (Y + 1) / 2, tz = (Z + 1) / 2, rows = (X + 1) / 2 * ty;
  // A unit is a part of a row of tiles; moments are kept per unit.
  const int64_t together = tiles_together(k), parts = (tz + together - 1) / together, length = (tz + parts - 1) / parts;
  const int64_t units = rows * parts;
  const int64_t share = (units + at::get_num_threads() - 1) / at::get_num_threads();
  const int64_t group = std::clamp<int64_t>(together / length, 1, share);
  const int64_t stride_v = group * length * c + 16, stride_m = group * length * k + 16;
  std::vector<double> sums(size_t(units * 2 * k), 0.0);

  at::parallel_for(0, (units + group - 1) / group, 1, [&](int64_t begin, int64_t end) {
    const c10::DataPtr memory = c10::GetCPUAllocator()->allocate(size_t(kPlanes * (stride_v + stride_m)) * 4);
    float* v = static_cast<float*>(memory.get());
    float* m = v + kPlanes * stride_v;
    // The unit's first tile along z and how many.
    auto extent = [&](int64_t unit) {
      const int64_t from = unit % parts * length;
      return std::pair<int64_t, int64_t>(from, std::min(length, tz - from));
    };
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * group, last = std::min(units, first + group);
      int64_t tiles = 0;
      for (int64_t unit = first; unit < last; ++unit) {
        const int64_t x0 = unit / parts / ty * 2 - 1, y0 = unit / parts % ty * 2 - 1;
        const float* lines[16];
        for (int line = 0; line < 16; ++line) {
          const int64_t lx = x0 + line / 4, ly = y0 + line % 4;
          lines[line] = lx < 0 || lx >= X || ly < 0 || ly >= Y ? nullptr : x + (lx * Y + ly) * Z * c;
        }
        const auto [from, n] = extent(unit);
        w.input(lines, 2 * from - 1, n, Z, c, scale, shift, v + tiles * c, stride_v);
        tiles += n;
      }
      for (int p = 0; p < kPlanes; ++p)
        w.multiply(v + p * stride_v, packed + p * c * k, m + p * stride_m, tiles, c, k);
      tiles = 0;
      for (int64_t unit = first; unit < last; ++unit) {
        const int64_t x0 = unit / parts / ty * 2, y0 = unit / parts % ty * 2;
        const auto [from, n] = extent(unit);
        float* lines[4];
        for (int line = 0; line < 4; ++line) {
          const int64_t lx = x0 + line / 2, ly = y0 + line % 2;
          lines[line] = lx >= X || ly >= Y ? nullptr : out + ((lx * Y + ly) * Z + 2 * from) * k;
        }
        w.output(m + tiles * k, stride_m, n, k, lines, std::min(2 * n, Z - 2 * from), add, &sums[unit * 2 * k],
                 &sums[unit * 2 * k + k]);
        tiles += n;
      }
    }
  });
  for (int64_t unit = 0; unit < units; ++unit)
    for (int64_t i = 0; i < 2 * k; ++i) moments[i] += sums[unit * 2 * k + i];
}

}  // namespace

extern "C" {

int64_t sb_conv3_lanes() { return winograd().lanes; }

// w [K, C, 3, 3, 3] to 64 planes as `multiply` reads them.
void sb_conv3_pack(const float* w, int64_t k, int64_t c, float* packed) {
  const int64_t columns = winograd().columns;
  at::parallel_for(0, k, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / columns * columns, width = std::min(columns, k - first);
      for (int64_t j = 0; j < c; ++j) {
        double g[27], z[9 * 4], y[3 * 16], x[kPlanes];
        std::copy_n(w + (i * c + j) * 27, 27, g);
        for (int a = 0; a < 9; ++a) spread(g + a * 3, 1, z + a * 4, 1);
        for (int a = 0; a < 3; ++a)
          for (int b = 0; b < 4; ++b) spread(z + a * 12 + b, 4, y + a * 16 + b, 4);
        for (int b = 0; b < 16; ++b) spread(y + b, 16, x + b, 16);
        float* to = packed + first * c + j * width + (i - first);
        for (int p = 0; p < kPlanes; ++p) to[p * c * k] = float(x[p]);
      }
    }
  });
}

char* sb_conv3(const float* x, const float* scale, const float* shift, int64_t X, int64_t Y, int64_t Z, int64_t c,
               const float* packed, int64_t k, float* out, int add, double* moments) {
  return sb_caught([&] { convolve(x, scale, shift, X, Y, Z, c, packed, k, out, add, moments); });
}
}
