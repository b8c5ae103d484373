// Selects the variant, compiled per instruction set, that this CPU supports.
#pragma once
#include <stdint.h>

// Bits: 1 AVX2 with FMA, 2 AVX-512 (F, BW, VL, DQ), 4 AVX-512 bf16, 8 AMX bf16.
extern "C" int sb_cpu_features();

// `channels` that are filled by vectors of any width.
constexpr int64_t kAnyWidth = 16;

// The variant with the widest vectors that this CPU supports and that `channels`, a multiple of 4, fill.
#if defined(__x86_64__)
#define SB_BEST(table, channels)                                                 \
  [](int64_t count) {                                                            \
    static const int features = sb_cpu_features();                               \
    return features & 2 && count % 16 == 0  ? table##_avx512()                   \
           : features & 1 && count % 8 == 0 ? table##_avx2()                     \
                                            : table##_base();                    \
  }(channels)
#else
#define SB_BEST(table, channels) table##_base()
#endif
