// Selects the variant, compiled per instruction set, that this CPU supports.
#pragma once

// Bits: 1 AVX2 with FMA, 2 AVX-512 (F, BW, VL, DQ), 4 AVX-512 bf16, 8 AMX bf16.
extern "C" int sb_cpu_features();

#if defined(__x86_64__)
#define SB_BEST(table)                             \
  (sb_cpu_features() & 2   ? table##_avx512()      \
   : sb_cpu_features() & 1 ? table##_avx2()        \
                           : table##_base())
#else
#define SB_BEST(table) table##_base()
#endif
