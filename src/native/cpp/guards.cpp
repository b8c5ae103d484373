// Autocast state and CPU features.
#include <c10/core/DeviceType.h>
#include <c10/core/ScalarType.h>

// Declared here because ATen/autocast_mode.h and ATen/cpu/Utils.h include all of ATen. A changed signature fails to
// link.
namespace at::autocast {
bool is_autocast_enabled(c10::DeviceType);
void set_autocast_enabled(c10::DeviceType, bool);
c10::ScalarType get_autocast_dtype(c10::DeviceType);
void set_autocast_dtype(c10::DeviceType, c10::ScalarType);
void clear_cache();
}  // namespace at::autocast

extern "C" {

// Enables autocast to `dtype` (a c10::ScalarType); `was` receives the previous state (enabled, dtype).
void sb_autocast_enter(int cuda, int dtype, int* was) {
  const auto device = cuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU;
  was[0] = at::autocast::is_autocast_enabled(device);
  was[1] = static_cast<int>(at::autocast::get_autocast_dtype(device));
  at::autocast::set_autocast_dtype(device, static_cast<c10::ScalarType>(dtype));
  at::autocast::set_autocast_enabled(device, true);
}

void sb_autocast_leave(int cuda, const int* was) {
  const auto device = cuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU;
  at::autocast::clear_cache();
  at::autocast::set_autocast_dtype(device, static_cast<c10::ScalarType>(was[1]));
  at::autocast::set_autocast_enabled(device, was[0] != 0);
}

int sb_cpu_features() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  int bits = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) bits |= 1;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    bits |= 2;
  unsigned a = 7, b = 0, c = 1, d = 0;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if ((bits & 2) && (a >> 5 & 1)) bits |= 4;
  a = 7, c = 0;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if ((bits & 2) && (d >> 22 & 1) && (d >> 24 & 1)) bits |= 8;
  return bits;
#else
  return 0;
#endif
}
}
