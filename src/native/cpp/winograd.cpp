// See winograd.h. SB_WINOGRAD is the name of the function that returns the table.
#include "winograd.h"

#include "vectors.h"

namespace {

// Rows per step of `multiply`: the accumulators, two vectors of columns and a broadcast value fill the registers.
#if defined(__AVX512F__)
constexpr int MR = 12;
#else
constexpr int MR = 6;
#endif
constexpr int NR = 2;
constexpr int P = 16 / W;  // vectors in a cache line
constexpr int G = 4 / P;   // cache lines of channels processed together along z; their ring buffer fits into L1

// 16 values (4 of x times 4 of y) at one z, transformed along y and x, for one cache line of channels.
struct Slice {
  vf at[P][16];
};

// Lines are at distances that map to few cache sets, so each is read for all P vectors at once.
template <bool NORM, bool EDGE>
inline void slice(const float* const lines[16], int64_t z, int64_t depth, int64_t c, int64_t at, int parts,
                  const float* scale, const float* shift, Slice& s) {
  if (z < 0 || z >= depth) {
    s = Slice{};
    return;
  }
  const int64_t from = z * c + at;
  for (int a = 0; a < 4; ++a) {
    for (int p = 0; p < parts; ++p) {
      vf d[4], gain, offset;
      if (NORM) gain = get<vf>(scale + at + p * W), offset = get<vf>(shift + at + p * W);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) {
        const float* line = lines[a * 4 + b];
        if (EDGE && !line) {
          d[b] = vf{};
          continue;
        }
        d[b] = get<vf>(line + from + p * W);
        if (NORM) {
          d[b] = d[b] * gain + offset;
          d[b] = vf{} > d[b] ? vf{} : d[b];  // NaN is propagated, as in torch.relu
        }
      }
      vf* to = s.at[p] + a * 4;
      to[0] = d[0] - d[2];
      to[1] = d[1] + d[2];
      to[2] = d[2] - d[1];
      to[3] = d[1] - d[3];
    }
  }
  for (int p = 0; p < parts; ++p) {
    vf* v = s.at[p];
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
      const vf d0 = v[b], d1 = v[4 + b], d2 = v[8 + b], d3 = v[12 + b];
      v[b] = d0 - d2;
      v[4 + b] = d1 + d2;
      v[8 + b] = d2 - d1;
      v[12 + b] = d1 - d3;
    }
  }
}

template <bool NORM, bool EDGE>
void input_lines(const float* const lines[16], int64_t z0, int64_t n, int64_t depth, int64_t c, const float* scale,
                 const float* shift, float* v, int64_t stride) {
  for (int64_t c0 = 0; c0 < c; c0 += G * P * W) {
    const int all = c - c0 < G * P * W ? int((c - c0) / W) : G * P;
    // Neighboring tiles share two of their four z positions.
    Slice ring[4][G];
    auto fill = [&](int64_t z, int at, int k) {
      slice<NORM, EDGE>(lines, z, depth, c, c0 + k * P * W, all - k * P < P ? all - k * P : P, scale, shift, ring[at][k]);
    };
    for (int i = 0; i < 2; ++i)
      for (int k = 0; k * P < all; ++k) fill(z0 + i, i, k);
    for (int64_t t = 0; t < n; ++t) {
      const int old = int(t & 1) * 2, fresh = old ^ 2;
      for (int k = 0; k * P < all; ++k) {
        fill(z0 + 2 * t + 2, fresh, k);
        fill(z0 + 2 * t + 3, fresh + 1, k);
      }
      for (int k = 0; k < all; ++k) {
        float* to = v + t * c + c0 + k * W;
        const vf* d0 = ring[old][k / P].at[k % P];
        const vf* d1 = ring[old + 1][k / P].at[k % P];
        const vf* d2 = ring[fresh][k / P].at[k % P];
        const vf* d3 = ring[fresh + 1][k / P].at[k % P];
#pragma GCC unroll 4
        for (int i = 0; i < 16; ++i, to += 4 * stride) {
          put(to, d0[i] - d2[i]);
          put(to + stride, d1[i] + d2[i]);
          put(to + 2 * stride, d2[i] - d1[i]);
          put(to + 3 * stride, d1[i] - d3[i]);
        }
      }
    }
  }
}

void input(const float* const lines[16], int64_t z0, int64_t n, int64_t depth, int64_t c, const float* scale,
           const float* shift, float* v, int64_t stride) {
  bool edge = false;
  for (int i = 0; i < 16; ++i) edge |= !lines[i];
  auto run = scale ? edge ? input_lines<true, true> : input_lines<true, false>
             : edge ? input_lines<false, true>
                    : input_lines<false, false>;
  run(lines, z0, n, depth, c, scale, shift, v, stride);
}

// Computes R rows by N vectors of a matrix product in registers, summed over `count` terms. Forward: m = v·u, tiles by
// output channels, summed over input channels. ADJOINT: u += vᵀ·m, input by output channels, summed over tiles.
template <bool ADJOINT, int R, int N>
inline void step(const float* a, const float* b, float* out, int64_t count, int64_t c, int64_t k) {
  vf acc[R][N];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) acc[r][j] = ADJOINT ? get<vf>(out + r * k + j * W) : vf{};
  for (int64_t i = 0; i < count; ++i, b += ADJOINT ? k : N * W) {
    vf row[N];
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) row[j] = get<vf>(b + j * W);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const vf x = splat(ADJOINT ? a[i * c + r] : a[r * c + i]);
#pragma GCC unroll 2
      for (int j = 0; j < N; ++j) acc[r][j] += x * row[j];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < N; ++j) put(out + r * k + j * W, acc[r][j]);
}

template <bool ADJOINT, int R, int N>
inline void rest(int64_t rows, const float* a, const float* b, float* out, int64_t count, int64_t c, int64_t k) {
  if constexpr (R > 0) {
    if (rows == R)
      step<ADJOINT, R, N>(a, b, out, count, c, k);
    else
      rest<ADJOINT, R - 1, N>(rows, a, b, out, count, c, k);
  }
}

template <bool ADJOINT, int N>
inline void column(int64_t rows, const float* a, const float* b, float* out, int64_t count, int64_t c, int64_t k) {
  const int64_t next = ADJOINT ? 1 : c;
  int64_t r = 0;
  for (; r + MR <= rows; r += MR) step<ADJOINT, MR, N>(a + r * next, b, out + r * k, count, c, k);
  rest<ADJOINT, MR - 1, N>(rows - r, a + r * next, b, out + r * k, count, c, k);
}

void multiply(const float* v, const float* u, float* m, int64_t n, int64_t c, int64_t k) {
  int64_t j = 0;
  for (; j + NR * W <= k; j += NR * W) column<false, NR>(n, v, u + j * c, m + j, c, c, k);
  if (j < k) column<false, 1>(n, v, u + j * c, m + j, c, c, k);
}

// Sums within a tile are f32, sums over tiles f64.
inline void gather(vf s, vf q, double* sum, double* square) {
  hf half[2];
  __builtin_memcpy(half, &s, sizeof s);
  put(sum, get<hd>(sum) + __builtin_convertvector(half[0], hd));
  put(sum + H, get<hd>(sum + H) + __builtin_convertvector(half[1], hd));
  __builtin_memcpy(half, &q, sizeof q);
  put(square, get<hd>(square) + __builtin_convertvector(half[0], hd));
  put(square + H, get<hd>(square + H) + __builtin_convertvector(half[1], hd));
}

template <bool ADD>
void output_lines(const float* m, int64_t stride, int64_t n, int64_t k, float* const lines[4], int64_t nz, double* sum,
                  double* square) {
  for (int64_t t = 0; t < n; ++t) {
    const bool whole = 2 * t + 1 < nz;
    for (int64_t at = 0; at < k; at += W) {
      const float* from = m + t * k + at;
      vf p[4][4];  // [x of 4][y, z of 2×2]
#pragma GCC unroll 4
      for (int a = 0; a < 4; ++a) {
        vf q[4][2];
#pragma GCC unroll 4
        for (int b = 0; b < 4; ++b, from += 4 * stride) {
          const vf m0 = get<vf>(from), m1 = get<vf>(from + stride), m2 = get<vf>(from + 2 * stride),
                   m3 = get<vf>(from + 3 * stride);
          q[b][0] = m0 + (m1 + m2);
          q[b][1] = (m1 - m2) - m3;
        }
#pragma GCC unroll 2
        for (int z = 0; z < 2; ++z) {
          p[a][z] = q[0][z] + (q[1][z] + q[2][z]);
          p[a][2 + z] = (q[1][z] - q[2][z]) - q[3][z];
        }
      }
      vf s = {}, square_sum = {};
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const int yz = i & 3;
        float* line = lines[i >> 1];
        if (!line || ((i & 1) && !whole)) continue;
        vf value = i < 4 ? p[0][yz] + (p[1][yz] + p[2][yz]) : (p[1][yz] - p[2][yz]) - p[3][yz];
        float* to = line + (2 * t + (i & 1)) * k + at;
        if (ADD) value += get<vf>(to);
        put(to, value);
        s += value;
        square_sum += value * value;
      }
      gather(s, square_sum, sum + at, square + at);
    }
  }
}

void output(const float* m, int64_t stride, int64_t n, int64_t k, float* const lines[4], int64_t nz, int add,
            double* sum, double* square) {
  if (add)
    output_lines<true>(m, stride, n, k, lines, nz, sum, square);
  else
    output_lines<false>(m, stride, n, k, lines, nz, sum, square);
}

// One axis of the transpose of `output`: two values to four.
inline void spread(vf a, vf b, vf* to, int step) {
  to[0] = a;
  to[step] = a + b;
  to[2 * step] = a - b;
  to[3 * step] = -b;
}

void output_adjoint(const float* const lines[4], int64_t nz, int64_t n, int64_t k, float* m, int64_t stride) {
  for (int64_t t = 0; t < n; ++t) {
    const bool whole = 2 * t + 1 < nz;
    for (int64_t at = 0; at < k; at += W) {
      vf q[2][16];  // [x of 2][y, z of 4×4]
#pragma GCC unroll 2
      for (int a = 0; a < 2; ++a) {
        vf p[2][4];
#pragma GCC unroll 2
        for (int b = 0; b < 2; ++b) {
          const float* line = lines[2 * a + b];
          const float* from = line + 2 * t * k + at;
          spread(line ? get<vf>(from) : vf{}, line && whole ? get<vf>(from + k) : vf{}, p[b], 1);
        }
#pragma GCC unroll 4
        for (int z = 0; z < 4; ++z) spread(p[0][z], p[1][z], q[a] + z, 4);
      }
      float* to = m + t * k + at;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i, to += stride) {
        vf x[4];
        spread(q[0][i], q[1][i], x, 1);
#pragma GCC unroll 4
        for (int a = 0; a < 4; ++a) put(to + 16 * a * stride, x[a]);
      }
    }
  }
}

void multiply_adjoint(const float* v, const float* m, float* u, int64_t n, int64_t c, int64_t k) {
  int64_t j = 0;
  for (; j + NR * W <= k; j += NR * W) column<true, NR>(c, v, m + j, u + j, n, c, k);
  if (j < k) column<true, 1>(c, v, m + j, u + j, n, c, k);
}

const Winograd kWinograd = {NR * W, input, multiply, output, output_adjoint, multiply_adjoint};

}  // namespace

extern "C" const Winograd* SB_WINOGRAD() { return &kWinograd; }
