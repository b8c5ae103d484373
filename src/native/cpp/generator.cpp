// Seed and state of torch's default random generators, and permutations drawn from a separately seeded generator.
#include "errors.h"
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <mutex>

namespace {
at::Generator generator(int cuda) {
  return at::globalContext().defaultGenerator(cuda < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, cuda));
}
} // namespace

// cuda: the index of the GPU, or -1 for the CPU.
extern "C" char* sb_generator_seed(int cuda, uint64_t* out) {
  return sb_caught([&] {
    auto own = generator(cuda);
    std::lock_guard<std::mutex> lock(own.mutex());
    *out = own.current_seed();
  });
}

extern "C" char* sb_generator_state(int cuda, at::Tensor** out) {
  return sb_caught([&] {
    auto own = generator(cuda);
    std::lock_guard<std::mutex> lock(own.mutex());
    *out = new at::Tensor(own.get_state());
  });
}

extern "C" char* sb_generator_set_state(int cuda, const at::Tensor* state) {
  return sb_caught([&] {
    auto own = generator(cuda);
    std::lock_guard<std::mutex> lock(own.mutex());
    own.set_state(*state);
  });
}

// torch.randperm(n, generator=torch.Generator().manual_seed(seed))
extern "C" char* sb_permutation(int64_t n, uint64_t seed, int64_t* out) {
  return sb_caught([&] {
    auto own = at::globalContext().defaultGenerator(at::kCPU).clone();
    own.set_current_seed(seed);
    auto order = at::randperm(n, own, at::TensorOptions().dtype(at::kLong));
    std::copy_n(order.data_ptr<int64_t>(), n, out);
  });
}
