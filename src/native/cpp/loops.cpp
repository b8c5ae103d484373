// The inner loops, vectorized to the width that the compiler flags allow. SB_LOOPS is the name of the function that
// returns the table. Standard headers with inline functions must not be included: the linker could select a copy
// compiled for an instruction set that the CPU lacks.
#include "loops.h"

#include "vectors.h"

namespace {

// Classes per step of the head (the last layer).
#if defined(__AVX512F__)
constexpr int NK = 12;
#else
constexpr int NK = 6;
#endif
constexpr int64_t kCacheBytes = 16 << 10;  // half of a typical L1 data cache

typedef int32_t vi __attribute__((vector_size(W * 4)));
typedef uint32_t vu __attribute__((vector_size(W * 4)));
typedef uint16_t vs __attribute__((vector_size(W * 2)));
typedef uint32_t hu __attribute__((vector_size(H * 4)));
typedef uint16_t hs __attribute__((vector_size(H * 2)));

// Element types: f32, and bf16 stored as the upper half of an f32.
struct F32 {
  typedef float type;
  static vf load(const float* p) { return get<vf>(p); }
  static hd load_half(const float* p) { return __builtin_convertvector(get<hf>(p), hd); }
  static float load_one(const float* p) { return *p; }
  static void store(float* p, vf v) { put(p, v); }
  static void store_one(float* p, float v) { *p = v; }
};
struct BF16 {
  typedef uint16_t type;
  static vf load(const uint16_t* p) {
    vu bits = __builtin_convertvector(get<vs>(p), vu) << 16;
    return (vf)bits;
  }
  static hd load_half(const uint16_t* p) {
    hu bits = __builtin_convertvector(get<hs>(p), hu) << 16;
    return __builtin_convertvector((hf)bits, hd);
  }
  static float load_one(const uint16_t* p) {
    uint32_t bits = uint32_t(*p) << 16;
    float v;
    __builtin_memcpy(&v, &bits, 4);
    return v;
  }
  // Round to nearest even; NaN stays NaN.
  static void store(uint16_t* p, vf v) {
    vu bits = (vu)v;
    vu rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    rounded = v == v ? rounded : vu{} + 0x7fc0;
    put(p, __builtin_convertvector(rounded, vs));
  }
  static void store_one(uint16_t* p, float v) {
    uint32_t bits;
    __builtin_memcpy(&bits, &v, 4);
    *p = v == v ? uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16) : uint16_t(0x7fc0);
  }
};

// Sums of T·H channels over rows, kept in registers.
template <class E, int T>
inline void moments_tile(const typename E::type* x, int64_t rows, int64_t c, double* sum, double* square) {
  hd s[T], q[T];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) s[t] = get<hd>(sum + t * H), q[t] = get<hd>(square + t * H);
  for (int64_t r = 0; r < rows; ++r, x += c) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      hd v = E::load_half(x + t * H);
      s[t] += v;
      q[t] += v * v;
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) put(sum + t * H, s[t]), put(square + t * H, q[t]);
}

// Number of rows that fit into the cache.
template <class E>
inline void moments_block(const typename E::type* x, int64_t rows, int64_t c, double* sum, double* square) {
  int64_t at = 0;
  for (; at + 4 * H <= c; at += 4 * H) moments_tile<E, 4>(x + at, rows, c, sum + at, square + at);
  for (; at + H <= c; at += H) moments_tile<E, 1>(x + at, rows, c, sum + at, square + at);
  for (; at < c; ++at) {
    double s = sum[at], q = square[at];
    for (int64_t r = 0; r < rows; ++r) {
      double v = E::load_one(x + r * c + at);
      s += v;
      q += v * v;
    }
    sum[at] = s, square[at] = q;
  }
}

template <class E>
inline int64_t block_rows(int64_t c) {
  int64_t rows = kCacheBytes / (c * int64_t(sizeof(typename E::type)));
  return rows < 1 ? 1 : rows;
}

template <class E>
void moments(const void* px, int64_t rows, int64_t c, double* sum, double* square) {
  auto x = static_cast<const typename E::type*>(px);
  const int64_t step = block_rows<E>(c);
  for (int64_t r = 0; r < rows; r += step)
    moments_block<E>(x + r * c, r + step < rows ? step : rows - r, c, sum, square);
}

template <class E>
void add_moments(void* px, const void* py, int64_t rows, int64_t c, double* sum, double* square) {
  auto x = static_cast<typename E::type*>(px);
  auto y = static_cast<const typename E::type*>(py);
  const int64_t step = block_rows<E>(c);
  for (int64_t r = 0; r < rows; r += step) {
    const int64_t count = r + step < rows ? step : rows - r, end = (r + count) * c;
    int64_t i = r * c;
    for (; i + W <= end; i += W) E::store(x + i, E::load(x + i) + E::load(y + i));
    for (; i < end; ++i) E::store_one(x + i, E::load_one(x + i) + E::load_one(y + i));
    moments_block<E>(x + r * c, count, c, sum, square);
  }
}

// Comparisons are written so that NaN is propagated, as in torch.relu.
template <class E, bool relu>
inline void affine_rows(const typename E::type* x, typename E::type* out, int64_t rows, int64_t c, const float* scale,
                        const float* shift) {
  for (int64_t r = 0; r < rows; ++r, x += c, out += c) {
    int64_t i = 0;
    for (; i + W <= c; i += W) {
      vf v = E::load(x + i) * get<vf>(scale + i) + get<vf>(shift + i);
      if (relu) v = v < vf{} ? vf{} : v;
      E::store(out + i, v);
    }
    for (; i < c; ++i) {
      float v = E::load_one(x + i) * scale[i] + shift[i];
      if (relu) v = v < 0 ? 0 : v;
      E::store_one(out + i, v);
    }
  }
}

template <class E>
void affine(const void* px, void* pout, int64_t rows, int64_t c, const float* scale, const float* shift, int relu) {
  auto x = static_cast<const typename E::type*>(px);
  auto out = static_cast<typename E::type*>(pout);
  if (relu)
    affine_rows<E, true>(x, out, rows, c, scale, shift);
  else
    affine_rows<E, false>(x, out, rows, c, scale, shift);
}

template <class E>
void upsample(const void* const plines[4], const float weights[4], int64_t z, int64_t c, const void* pskip, void* pout,
              float* line, double* sum, double* square) {
  typedef typename E::type T;
  const T* l[4];
  for (int i = 0; i < 4; ++i) l[i] = static_cast<const T*>(plines[i]);
  auto skip = static_cast<const T*>(pskip);
  auto out = static_cast<T*>(pout);
  const int64_t n = z * c;
  int64_t i = 0;
  for (; i + W <= n; i += W)
    put(line + i, (weights[0] * E::load(l[0] + i) + weights[1] * E::load(l[1] + i)) +
                      (weights[2] * E::load(l[2] + i) + weights[3] * E::load(l[3] + i)));
  for (; i < n; ++i)
    line[i] = (weights[0] * E::load_one(l[0] + i) + weights[1] * E::load_one(l[1] + i)) +
              (weights[2] * E::load_one(l[2] + i) + weights[3] * E::load_one(l[3] + i));
  // Output 2k lies 1/4 voxel before source k, output 2k+1 1/4 voxel after it; border values are repeated.
  for (int64_t o = 0; o < 2 * z; ++o, skip += c, out += c) {
    const int64_t near = o / 2, far = o & 1 ? near + 1 : near - 1;
    const float* a = line + near * c;
    const float* b = line + (far < 0 ? 0 : far >= z ? z - 1 : far) * c;
    int64_t k = 0;
    for (; k + W <= c; k += W)
      E::store(out + k, (0.75f * get<vf>(a + k) + 0.25f * get<vf>(b + k)) + E::load(skip + k));
    for (; k < c; ++k) E::store_one(out + k, (0.75f * a[k] + 0.25f * b[k]) + E::load_one(skip + k));
  }
  const int64_t rows = 2 * z, step = block_rows<E>(c);
  out -= rows * c;
  for (int64_t r = 0; r < rows; r += step)
    moments_block<E>(out + r * c, r + step < rows ? step : rows - r, c, sum, square);
}

// ---- backward passes; c is a multiple of W (the caller selects a variant that it fills)

// The gradient of relu: as in torch, passed where the result is positive or NaN.
template <class V>
inline V passed(V x, V g, V scale, V shift) {
  return x * scale + shift <= V{} ? V{} : g;
}

void relu_sums(const float* px, const float* pg, int64_t rows, int64_t c, const float* scale, const float* shift,
               double* sum, double* product) {
  const int64_t block = block_rows<F32>(2 * c);
  for (int64_t from = 0; from < rows; from += block) {
    const int64_t end = from + block < rows ? from + block : rows;
    for (int64_t at = 0; at < c; at += 2 * H) {
      hd s[2], q[2];
#pragma GCC unroll 2
      for (int t = 0; t < 2; ++t) s[t] = get<hd>(sum + at + t * H), q[t] = get<hd>(product + at + t * H);
      for (int64_t r = from; r < end; ++r) {
#pragma GCC unroll 2
        for (int t = 0; t < 2; ++t) {
          const int64_t i = at + t * H;
          const hf x = get<hf>(px + r * c + i);
          const hd g = __builtin_convertvector(
              passed(x, get<hf>(pg + r * c + i), get<hf>(scale + i), get<hf>(shift + i)), hd);
          s[t] += g;
          q[t] += g * __builtin_convertvector(x, hd);
        }
      }
#pragma GCC unroll 2
      for (int t = 0; t < 2; ++t) put(sum + at + t * H, s[t]), put(product + at + t * H, q[t]);
    }
  }
}

template <bool ADD>
void norm_backward_rows(const float* x, float* g, const float* add, int64_t rows, int64_t c, const float* scale,
                        const float* shift, const float* a, const float* b, const float* d) {
  for (int64_t r = 0; r < rows; ++r, x += c, g += c, add += ADD ? c : 0) {
    for (int64_t i = 0; i < c; i += W) {
      const vf at = get<vf>(x + i);
      vf v = get<vf>(a + i) * passed(at, get<vf>(g + i), get<vf>(scale + i), get<vf>(shift + i)) +
             (get<vf>(b + i) * at + get<vf>(d + i));
      if (ADD) v += get<vf>(add + i);
      put(g + i, v);
    }
  }
}

void norm_backward(const float* x, float* g, const float* add, int64_t rows, int64_t c, const float* scale,
                   const float* shift, const float* a, const float* b, const float* d) {
  if (add)
    norm_backward_rows<true>(x, g, add, rows, c, scale, shift, a, b, d);
  else
    norm_backward_rows<false>(x, g, nullptr, rows, c, scale, shift, a, b, d);
}

void upsample_adjoint(const float* const lines[16], const float weights[16], int64_t z, int64_t c, float* out,
                      float* line) {
  for (int64_t i = 0; i < 2 * z * c; i += W) {
    vf sum = {};
#pragma GCC unroll 16
    for (int l = 0; l < 16; ++l) sum += weights[l] * get<vf>(lines[l] + i);
    put(line + i, sum);
  }
  // Source k contributes 3/4 to outputs 2k and 2k+1 and 1/4 to their outer neighbors; at the border, to the border
  // output itself.
  for (int64_t k = 0; k < z; ++k) {
    const float* before = line + (k > 0 ? 2 * k - 1 : 0) * c;
    const float* own = line + 2 * k * c;
    const float* after = line + (k + 1 < z ? 2 * k + 2 : 2 * k + 1) * c;
    for (int64_t i = 0; i < c; i += W)
      put(out + k * c + i, 0.75f * (get<vf>(own + i) + get<vf>(own + c + i)) +
                               0.25f * (get<vf>(before + i) + get<vf>(after + i)));
  }
}

template <class E>
void blend(float* acc, float* total, const void* px, const float* w, int64_t n, int64_t f) {
  auto x = static_cast<const typename E::type*>(px);
  for (int64_t v = 0; v < n; ++v, acc += f, x += f) {
    const float weight = w[v];
    total[v] += weight;
    int64_t i = 0;
    for (; i + W <= f; i += W) put(acc + i, get<vf>(acc + i) + weight * E::load(x + i));
    for (; i < f; ++i) acc[i] += weight * E::load_one(x + i);
  }
}

// ---- the head: 2·W voxels by NK classes in registers

// scratch[f][2W] = acc[voxel][f] / total[voxel]; an incomplete tile repeats the last voxel.
inline void gather(const float* acc, const float* total, int64_t n, int64_t f, float* scratch) {
  for (int v = 0; v < 2 * W; ++v) {
    const int64_t at = v < n ? v : n - 1;
    const float* row = acc + at * f;
    const float t = total[at];
    for (int64_t i = 0; i < f; ++i) scratch[i * 2 * W + v] = row[i] / t;
  }
}

inline void product(const float* scratch, const float* packed, int64_t f, vf (&a)[NK], vf (&b)[NK]) {
#pragma GCC unroll 12
  for (int j = 0; j < NK; ++j) a[j] = b[j] = vf{};
  for (int64_t i = 0; i < f; ++i, scratch += 2 * W, packed += NK) {
    const vf x = get<vf>(scratch), y = get<vf>(scratch + W);
#pragma GCC unroll 12
    for (int j = 0; j < NK; ++j) {
      const vf w = splat(packed[j]);
      a[j] += w * x;
      b[j] += w * y;
    }
  }
}

// The first of equal maxima wins and NaN is larger than any number, as in torch.argmax.
inline void larger(vf v, int32_t k, vf& best, vi& at) {
  const vi take = ((v > best) | (v != v)) & (best == best);
  best = take ? v : best;
  at = take ? vi{} + k : at;
}

template <class T>
inline void store_labels(vi at, T* out, int64_t n) {
  for (int i = 0; i < W && i < n; ++i) out[i] = T(at[i]);
}

template <class T>
void head_labels(const float* acc, const float* total, int64_t n, int64_t f, int64_t k, const float* packed,
                 const float* bias, float* scratch, T* out) {
  for (int64_t v = 0; v < n; v += 2 * W) {
    gather(acc + v * f, total + v, n - v, f, scratch);
    vf best0 = splat(-__builtin_inff()), best1 = best0;
    vi at0 = {}, at1 = {};
    for (int64_t c = 0; c < k; c += NK) {
      vf a[NK], b[NK];
      product(scratch, packed + c * f, f, a, b);
#pragma GCC unroll 12
      for (int j = 0; j < NK; ++j) {
        if (c + j < k) {
          larger(a[j] + bias[c + j], int32_t(c + j), best0, at0);
          larger(b[j] + bias[c + j], int32_t(c + j), best1, at1);
        }
      }
    }
    store_labels(at0, out + v, n - v);
    store_labels(at1, out + v + W, n - v - W);
  }
}

void head_argmax(const float* acc, const float* total, int64_t n, int64_t f, int64_t k, const float* packed,
                 const float* bias, float* scratch, void* out, int wide) {
  if (wide)
    head_labels(acc, total, n, f, k, packed, bias, scratch, static_cast<uint16_t*>(out));
  else
    head_labels(acc, total, n, f, k, packed, bias, scratch, static_cast<uint8_t*>(out));
}

inline void store_values(vf v, float* out, int64_t n) {
  if (n >= W)
    put(out, v);
  else
    for (int i = 0; i < n; ++i) out[i] = v[i];
}

void head_values(const float* acc, const float* total, int64_t n, int64_t f, int64_t k, const float* packed,
                 const float* bias, float* scratch, float* out, int64_t stride) {
  for (int64_t v = 0; v < n; v += 2 * W) {
    gather(acc + v * f, total + v, n - v, f, scratch);
    for (int64_t c = 0; c < k; c += NK) {
      vf a[NK], b[NK];
      product(scratch, packed + c * f, f, a, b);
#pragma GCC unroll 12
      for (int j = 0; j < NK; ++j) {
        if (c + j < k) {
          float* to = out + (c + j) * stride + v;
          store_values(a[j] + bias[c + j], to, n - v);
          store_values(b[j] + bias[c + j], to + W, n - v - W);
        }
      }
    }
  }
}

template <class T>
void argmax_span(const float* x, int64_t n, int64_t k, int64_t stride, T* out) {
  float best[kArgmaxSpan];
  int32_t at[kArgmaxSpan];
  for (int64_t i = 0; i < n; ++i) best[i] = x[i], at[i] = 0;
  for (int64_t c = 1; c < k; ++c) {
    const float* row = x + c * stride;
    int64_t i = 0;
    for (; i + W <= n; i += W) {
      vf b = get<vf>(best + i);
      vi a = get<vi>(at + i);
      larger(get<vf>(row + i), int32_t(c), b, a);
      put(best + i, b);
      put(at + i, a);
    }
    for (; i < n; ++i)
      if ((row[i] > best[i] || row[i] != row[i]) && best[i] == best[i]) best[i] = row[i], at[i] = int32_t(c);
  }
  for (int64_t i = 0; i < n; ++i) out[i] = T(at[i]);
}

void argmax(const float* x, int64_t n, int64_t k, int64_t stride, void* out, int wide) {
  if (wide)
    argmax_span(x, n, k, stride, static_cast<uint16_t*>(out));
  else
    argmax_span(x, n, k, stride, static_cast<uint8_t*>(out));
}

// ---- choice of the element type

void any_moments(int e, const void* x, int64_t rows, int64_t c, double* s, double* q) {
  e == kF32 ? moments<F32>(x, rows, c, s, q) : moments<BF16>(x, rows, c, s, q);
}
void any_add_moments(int e, void* x, const void* y, int64_t rows, int64_t c, double* s, double* q) {
  e == kF32 ? add_moments<F32>(x, y, rows, c, s, q) : add_moments<BF16>(x, y, rows, c, s, q);
}
void any_affine(int e, const void* x, void* out, int64_t rows, int64_t c, const float* a, const float* b, int relu) {
  e == kF32 ? affine<F32>(x, out, rows, c, a, b, relu) : affine<BF16>(x, out, rows, c, a, b, relu);
}
void any_upsample(int e, const void* const l[4], const float w[4], int64_t z, int64_t c, const void* skip, void* out,
                  float* line, double* s, double* q) {
  e == kF32 ? upsample<F32>(l, w, z, c, skip, out, line, s, q) : upsample<BF16>(l, w, z, c, skip, out, line, s, q);
}
void any_blend(int e, float* acc, float* total, const void* x, const float* w, int64_t n, int64_t f) {
  e == kF32 ? blend<F32>(acc, total, x, w, n, f) : blend<BF16>(acc, total, x, w, n, f);
}

const Loops kLoops = {2 * W,     NK,            any_moments,      any_add_moments, any_affine,  any_upsample,
                      relu_sums, norm_backward, upsample_adjoint, any_blend,       head_argmax, head_values,
                      argmax};

}  // namespace

extern "C" const Loops* SB_LOOPS() { return &kLoops; }
