// A CPU allocator for libtorch that caches freed pages.
//
// With malloc, large tensors are unmapped after every operation, and the next operation faults their pages in again.
// Here, blocks of at least kLarge bytes are parts of 2 MiB-aligned mappings with huge pages. A freed block is merged
// with its free neighbors; a request takes the smallest free block that fits (best fit) and splits it. The memory held
// is therefore about the peak of the live memory, whatever the sizes. Smaller blocks come from malloc.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace {

constexpr size_t kLarge = size_t(512) << 10;
constexpr size_t kGrain = size_t(64) << 10;  // piece sizes are multiples of this
constexpr size_t kPage = size_t(2) << 20;    // mappings are aligned to and multiples of this
constexpr size_t kAlign = 64;                // c10::gAlignment

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

struct Pool {
  std::mutex mutex;
  std::map<uintptr_t, size_t> free_by_address;
  std::set<std::pair<size_t, uintptr_t>> free_by_size;
  std::unordered_map<uintptr_t, size_t> pieces;  // live large blocks
  size_t live = 0, peak = 0, mapped = 0, free_bytes = 0, limit = SIZE_MAX;

  void insert_free(uintptr_t at, size_t size) {
    auto next = free_by_address.lower_bound(at);
    if (next != free_by_address.end() && at + size == next->first) {
      size += next->second;
      free_bytes -= next->second;
      free_by_size.erase({next->second, next->first});
      next = free_by_address.erase(next);
    }
    if (next != free_by_address.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == at) {
        at = before->first;
        size += before->second;
        free_bytes -= before->second;
        free_by_size.erase({before->second, before->first});
        free_by_address.erase(before);
      }
    }
    free_by_address.emplace(at, size);
    free_by_size.emplace(size, at);
    free_bytes += size;
  }

  void erase_free(std::set<std::pair<size_t, uintptr_t>>::iterator it) {
    free_bytes -= it->first;
    free_by_address.erase(it->second);
    free_by_size.erase(it);
  }

  // Returns free blocks to the system, largest first, until at most `keep` bytes are free.
  void release(size_t keep) {
    while (free_bytes > keep && !free_by_size.empty()) {
      auto it = std::prev(free_by_size.end());
      const auto [size, at] = *it;
      // munmap accepts any page range, including one that spans mappings or is part of one.
      if (munmap(reinterpret_cast<void*>(at), size) != 0) return;
      mapped -= size;
      erase_free(it);
    }
  }

  // Maps `size` bytes, a multiple of kPage; returns 0 if the system is out of memory.
  uintptr_t map(size_t size) {
    void* raw = mmap(nullptr, size + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return 0;
    const uintptr_t start = reinterpret_cast<uintptr_t>(raw), at = round_up(start, kPage);
    const size_t head = at - start, tail = kPage - head;
    if (head) munmap(raw, head);
    if (tail) munmap(reinterpret_cast<void*>(at + size), tail);
    madvise(reinterpret_cast<void*>(at), size, MADV_HUGEPAGE);
    mapped += size;
    return at;
  }

  void count(size_t size) {
    live += size;
    if (live > peak) peak = live;
  }

  // Returns null if the system is out of memory or the limit is exceeded.
  void* take_large(size_t n) {
    if (n > SIZE_MAX / 2) return nullptr;
    const size_t want = round_up(n, kGrain);
    std::lock_guard<std::mutex> lock(mutex);
    if (want > limit || live > limit - want) return nullptr;
    auto it = free_by_size.lower_bound({want, 0});
    if (it == free_by_size.end()) {
      // Free blocks that are too small for any request must not accumulate beside new mappings: stay near the live
      // peak.
      const size_t size = round_up(want, kPage), bound = std::max(peak, live + want);
      const size_t room = bound + bound / 8 - std::min(bound, live + want);
      release(std::min(room, limit - want - live));
      uintptr_t at = map(size);
      if (!at) {
        release(0);
        at = map(size);
      }
      if (!at) return nullptr;
      insert_free(at, size);
      it = free_by_size.lower_bound({want, 0});
    }
    const auto [size, at] = *it;
    erase_free(it);
    if (size > want) insert_free(at + want, size - want);
    pieces[at] = want;
    count(want);
    return reinterpret_cast<void*>(at);
  }

  void* take_small(size_t n) {
    void* p = nullptr;
    if (posix_memalign(&p, kAlign, n) != 0) return nullptr;
    std::lock_guard<std::mutex> lock(mutex);
    count(malloc_usable_size(p));
    return p;
  }

  void give(void* p) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      auto it = pieces.find(reinterpret_cast<uintptr_t>(p));
      if (it != pieces.end()) {
        live -= it->second;
        insert_free(it->first, it->second);
        pieces.erase(it);
        return;
      }
      // oneDNN frees through the current allocator, even blocks that it allocated with a previous one.
      live -= std::min(live, malloc_usable_size(p));
    }
    free(p);
  }
};

// Never destroyed, because tensors in statics and thread-locals are freed after main.
Pool& pool() {
  static Pool* instance = new Pool;
  return *instance;
}

void give_back(void* p) {
  if (p) pool().give(p);
}

struct PageKeepingAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) return {nullptr, nullptr, &give_back, cpu};
    void* p = n < kLarge ? pool().take_small(n) : pool().take_large(n);
    TORCH_CHECK(p, "not enough memory: asked ", n, " bytes");
    return {p, p, &give_back, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
};

}  // namespace

extern "C" {

void sb_allocator_install() {
  static PageKeepingAllocator* allocator = new PageKeepingAllocator;
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(allocator, /*priority=*/1); });
}

// out: live, peak, held
void sb_allocator_memory(size_t* out) {
  std::lock_guard<std::mutex> lock(pool().mutex);
  out[0] = pool().live;
  out[1] = pool().peak;
  out[2] = pool().mapped;
}

void sb_allocator_reset_peak() {
  std::lock_guard<std::mutex> lock(pool().mutex);
  pool().peak = pool().live;
}

void sb_allocator_trim() {
  {
    std::lock_guard<std::mutex> lock(pool().mutex);
    pool().release(0);
  }
  malloc_trim(0);
}

void sb_allocator_limit(size_t bytes) {
  std::lock_guard<std::mutex> lock(pool().mutex);
  pool().limit = bytes;
}
}
