// Store, process group and gradient reducer of torch.distributed (torch 2.11).
//
// Keys and calls are those of Python's init_process_group and DistributedDataParallel, so that ranks of Python can be in
// the same group.
#define USE_C10D_GLOO
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "errors.h"

using at::Tensor;

struct SbStore {
  c10::intrusive_ptr<c10d::TCPStore> tcp;
};

struct SbGroup {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
};

struct SbReducer {
  std::shared_ptr<c10d::Reducer> reducer;
  std::shared_ptr<c10d::Logger> logger;
};

namespace {

// As `sb_caught`, with the messages of libtorch's errors without their backtraces.
template <class Work>
char* checked(const Work& work) {
  return sb_caught([&] {
    try {
      work();
    } catch (const c10::Error& error) {
      throw std::runtime_error(error.what_without_backtrace());
    }
  });
}

std::vector<Tensor> list(const Tensor* const* tensors, int64_t n) {
  std::vector<Tensor> out;
  out.reserve(n);
  for (int64_t i = 0; i < n; ++i) out.push_back(tensors[i]->detach());
  return out;
}

void finish(const c10::intrusive_ptr<c10d::Work>& work) {
  if (work) work->wait();
}

// Bytes for Rust, which frees them.
void give(const std::vector<uint8_t>& bytes, uint8_t** out, int64_t* length) {
  *length = static_cast<int64_t>(bytes.size());
  *out = static_cast<uint8_t*>(std::malloc(std::max<size_t>(bytes.size(), 1)));
  if (*out == nullptr) throw std::bad_alloc();
  std::copy(bytes.begin(), bytes.end(), *out);
}

// The size of the messages in which the parameters of a network are broadcast, in bytes, as in DistributedDataParallel.
constexpr size_t kBroadcastBytes = 250u << 20;

// Prefix of the keys of torch's default group.
constexpr const char* kGroup = "default_pg";

}  // namespace

extern "C" {

// serves: whether this process holds the store; others connect to it. size: number of ranks. A store that a Python rank
// holds waits until all ranks have connected.
char* sb_store_new(const char* host, uint16_t port, int serves, int64_t size, int64_t timeout_ms, SbStore** out) {
  return checked([&] {
    // Every attempt to connect to a store that does not exist yet would be a warning on stderr.
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = c10::GLOG_ERROR;
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves != 0;
    options.numWorkers = size;
    options.waitWorkers = serves == 0;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    options.multiTenant = true;
    auto tcp = c10::make_intrusive<c10d::TCPStore>(std::string(host), options);
    *out = new SbStore{tcp};
  });
}

void sb_store_free(SbStore* store) { delete store; }

char* sb_store_set(SbStore* store, const char* key, const uint8_t* value, int64_t length) {
  return checked([&] { store->tcp->set(key, std::vector<uint8_t>(value, value + length)); });
}

// out: null if there is no such key.
char* sb_store_get(SbStore* store, const char* key, uint8_t** out, int64_t* length) {
  return checked([&] {
    *out = nullptr;
    if (store->tcp->check({key})) give(store->tcp->get(key), out, length);
  });
}

// Sets a key that does not exist, and returns its value.
char* sb_store_set_first(SbStore* store, const char* key, const uint8_t* value, int64_t length, uint8_t** out,
                         int64_t* out_length) {
  return checked([&] {
    give(store->tcp->compareSet(key, {}, std::vector<uint8_t>(value, value + length)), out, out_length);
  });
}

char* sb_store_add(SbStore* store, const char* key, int64_t value, int64_t* out) {
  return checked([&] { *out = store->tcp->add(key, value); });
}

// out: whether some rank has begun to connect its process group.
char* sb_store_is_connecting(SbStore* store, int* out) {
  return checked([&] {
    const auto keys = store->tcp->listKeys();
    *out = std::any_of(keys.begin(), keys.end(), [](const auto& key) { return key.find(kGroup) != std::string::npos; });
  });
}

char* sb_group_gloo(SbStore* store, int rank, int size, int64_t timeout_ms, SbGroup** out) {
  return checked([&] {
    const auto timeout = std::chrono::milliseconds(timeout_ms);
    auto root = c10::make_intrusive<c10d::PrefixStore>(kGroup, store->tcp);
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>("0/", root);
    auto group = c10::make_intrusive<c10d::ProcessGroup>(prefixed, rank, size);
    auto own = c10::make_intrusive<c10d::PrefixStore>("cpu/", prefixed);
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(own, rank, size,
                                                            c10d::ProcessGroupGloo::Options::create_default(timeout));
    gloo->setSequenceNumberForGroup();
    group->setBackend(c10::DeviceType::CPU, c10d::ProcessGroup::GLOO, gloo);
    group->setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::GLOO, gloo);
    group->setDefaultBackend(c10d::ProcessGroup::GLOO);
    group->setGroupName("0");
    group->setGroupDesc(kGroup);
    *out = new SbGroup{group};
  });
}

void sb_group_free(SbGroup* group) { delete group; }

// op: a c10d::ReduceOp::RedOpType.
char* sb_all_reduce(SbGroup* group, Tensor* tensor, int op) {
  return checked([&] {
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp(static_cast<c10d::ReduceOp::RedOpType>(op));
    std::vector<Tensor> tensors{*tensor};
    finish(group->group->allreduce(tensors, options));
  });
}

// From rank 0.
char* sb_broadcast(SbGroup* group, const Tensor* const* tensors, int64_t n) {
  return checked([&] {
    const c10::NoGradGuard no_grad;
    c10d::broadcast_coalesced(group->group, list(tensors, n), kBroadcastBytes, 0);
  });
}

// out: one tensor like `tensor` for each rank.
char* sb_all_gather(SbGroup* group, const Tensor* tensor, const Tensor* const* out, int64_t n) {
  return checked([&] {
    std::vector<std::vector<Tensor>> to{list(out, n)};
    std::vector<Tensor> from{*tensor};
    finish(group->group->allgather(to, from));
  });
}

char* sb_barrier(SbGroup* group) {
  return checked([&] { finish(group->group->barrier()); });
}

// bucket_bytes: 0 for the default. As DistributedDataParallel._ddp_init_helper, after a check that all ranks have the
// same parameters and a broadcast of the parameters and `buffers` from rank 0.
char* sb_reducer_new(SbGroup* group, const Tensor* const* params_, const char* const* names_, int64_t n,
                     const Tensor* const* buffers, int64_t buffer_count, int64_t bucket_bytes, int find_unused, int views,
                     SbReducer** out) {
  return checked([&] {
    std::vector<Tensor> params;
    std::unordered_map<size_t, std::string> names;
    for (int64_t i = 0; i < n; ++i) {
      params.push_back(*params_[i]);
      names[i] = names_[i];
    }
    c10d::verify_params_across_processes(group->group, params, std::nullopt);
    {
      const c10::NoGradGuard no_grad;
      auto all = list(params_, n);
      for (const Tensor& buffer : list(buffers, buffer_count)) all.push_back(buffer);
      c10d::broadcast_coalesced(group->group, all, kBroadcastBytes, 0);
    }
    const std::vector<bool> sparse(n, false);
    const int64_t limit = bucket_bytes > 0 ? bucket_bytes : c10d::kDefaultBucketBytesCap;
    const int64_t first = bucket_bytes > 0 ? bucket_bytes : c10d::kDefaultFirstBucketBytes;
    std::vector<size_t> limits{std::numeric_limits<int64_t>::max()};
    if (find_unused && bucket_bytes > 0) limits = {size_t(limit)};
    if (find_unused && bucket_bytes == 0) limits = {size_t(first), size_t(limit)};
    auto buckets = std::get<0>(c10d::compute_bucket_assignment_by_size(params, limits, sparse));
    std::reverse(buckets.begin(), buckets.end());
    auto reducer =
        std::make_shared<c10d::Reducer>(params, buckets, group->group, sparse, limit, find_unused != 0, views != 0, names,
                                        first, false, false, std::vector<int64_t>{});
    auto logger = std::make_shared<c10d::Logger>(reducer);
    reducer->set_logger(logger);
    *out = new SbReducer{reducer, logger};
  });
}

void sb_reducer_free(SbReducer* reducer) {
  // The destructor of the logger may throw.
  std::free(checked([&] { delete reducer; }));
}

// Before the forward pass of an iteration that synchronizes gradients.
char* sb_reducer_before_forward(SbReducer* reducer) {
  return checked([&] {
    reducer->reducer->prepare_for_forward();
    reducer->reducer->rebuild_buckets();
  });
}

// outputs: the results of the forward pass with `find_unused`, else none.
char* sb_reducer_before_backward(SbReducer* reducer, const Tensor* const* outputs, int64_t n) {
  return checked([&] {
    std::vector<Tensor> all;
    for (int64_t i = 0; i < n; ++i) all.push_back(*outputs[i]);
    reducer->reducer->prepare_for_backward(all);
  });
}
}
