// Vectors of the width that the compiler flags allow, for files that are compiled once per instruction set. Everything
// here has internal linkage, so that the linker cannot select a copy compiled for another instruction set.
#pragma once
#include <stdint.h>

#if defined(__AVX512F__)
#define SB_WIDTH 16
#elif defined(__AVX2__)
#define SB_WIDTH 8
#else
#define SB_WIDTH 4
#endif

namespace {

constexpr int W = SB_WIDTH, H = W / 2;

typedef float vf __attribute__((vector_size(W * 4)));
typedef float hf __attribute__((vector_size(H * 4)));
typedef double hd __attribute__((vector_size(H * 8)));

template <class V, class T>
inline V get(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
inline void put(T* p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}
inline vf splat(float x) { return x - vf{}; }

}  // namespace
