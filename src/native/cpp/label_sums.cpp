// Sums over softmax(logits) and a label map for Dice and cross-entropy. Neither the softmax, the one-hot map nor their
// gradients are allocated: voxels are processed in spans that fit into the cache.
//
// Voxels are summed in the order of at::sum over a contiguous row (SumKernel.cpp: four vectors side by side, four
// levels of partial sums), so that the values are bit-equal to those of the plain formula.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "errors.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SB_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SB_CLONES
#endif

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int kVector = 8;            // vector width of libtorch's sum, in floats
constexpr int kGroup = 4 * kVector;   // elements per step of libtorch's sum
constexpr int kLevels = 4;
constexpr int64_t kSpan = 4096;       // voxels per span in the forward pass; a multiple of kGroup
constexpr int64_t kBackSpan = 1024;   // voxels per span and thread in the backward pass

// Running sum of one row of values that arrives in spans.
struct RowSum {
  float level[kLevels][kGroup] = {};
  float rest[kGroup] = {};
  int64_t seen = 0;  // complete groups so far
  int held = 0;      // values in `rest`, the incomplete group at the end of the row
};

int64_t level_power(int64_t size) {
  const int64_t groups = size / kGroup;
  int64_t log = 0;
  while ((int64_t(1) << log) < groups) ++log;
  return std::max<int64_t>(4, log / kLevels);
}

SB_CLONES void add_group(float* __restrict level, const float* __restrict values) {
  for (int k = 0; k < kGroup; ++k) level[k] += values[k];
}

void feed(RowSum& sum, const float* values, int64_t n, int64_t power) {
  const int64_t step = int64_t(1) << power, mask = step - 1;
  for (; n >= kGroup; n -= kGroup, values += kGroup) {
    add_group(sum.level[0], values);
    if (++sum.seen & mask) continue;
    for (int j = 1; j < kLevels; ++j) {
      add_group(sum.level[j], sum.level[j - 1]);
      std::memset(sum.level[j - 1], 0, sizeof sum.level[0]);
      if (sum.seen & (mask << (j * power))) break;
    }
  }
  std::copy_n(values, n, sum.rest);
  sum.held = int(n);
}

float total(const RowSum& sum) {
  float lanes[kGroup];
  std::copy_n(sum.level[0], kGroup, lanes);
  for (int j = 1; j < kLevels; ++j) add_group(lanes, sum.level[j]);
  int at = 0;
  for (; at + kVector <= sum.held; at += kVector)
    for (int k = 0; k < kVector; ++k) lanes[k] += sum.rest[at + k];
  for (int row = 1; row < 4; ++row)
    for (int k = 0; k < kVector; ++k) lanes[k] += lanes[row * kVector + k];
  float result = 0;
  for (; at < sum.held; ++at) result += sum.rest[at];
  for (int k = 0; k < kVector; ++k) result += lanes[k];
  return result;
}

SB_CLONES double square_sum(const float* p, int64_t n) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) lanes[k] += double(p[i + k]) * double(p[i + k]);
  for (; i < n; ++i) lanes[0] += double(p[i]) * double(p[i]);
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

SB_CLONES bool masked(const float* __restrict p, const int32_t* __restrict label, int32_t c, int64_t n,
                      float* __restrict out) {
  int32_t any = 0;
  for (int64_t i = 0; i < n; ++i) {
    any |= label[i] == c;
    out[i] = label[i] == c ? p[i] : 0.f;
  }
  return any != 0;
}

// Replaces p [C, count] by the gradient of the logits: p·(a − Σ p·a) + g_log·(1[label=c] − p), where a = g_pred +
// 2·p·g_square + 1[label=c]·g_inter.
SB_CLONES void gradient(float* p, int64_t classes, int64_t count, const int32_t* label, const float* gi,
                               const float* gp, const float* gs, const float* gl, float* mean) {
  for (int64_t i = 0; i < count; ++i) mean[i] = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const float a = gp ? gp[c] : 0.f, b = gs ? 2 * gs[c] : 0.f;
    const float* row = p + c * count;
    for (int64_t i = 0; i < count; ++i) mean[i] += row[i] * (a + b * row[i]);
  }
  float own[kBackSpan];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t c = label[i];
    own[i] = gi ? p[c * count + i] * gi[c] : 0.f;
    mean[i] += own[i];
    if (gl) {
      mean[i] += gl[i];
      own[i] += gl[i];
    }
  }
  for (int64_t c = 0; c < classes; ++c) {
    const float a = gp ? gp[c] : 0.f, b = gs ? 2 * gs[c] : 0.f;
    float* row = p + c * count;
    for (int64_t i = 0; i < count; ++i) row[i] *= a + b * row[i] - mean[i];
  }
  for (int64_t i = 0; i < count; ++i) p[label[i] * count + i] += own[i];
}

// Returns item n as [C, S]: a view if its voxels are evenly strided, else a copy.
Tensor item(const Tensor& logits, int64_t n) { return logits.select(0, n).flatten(1); }

Tensor span(const Tensor& rows, int64_t start, int64_t count) {
  return rows.narrow(1, start, count).unsqueeze(0).to(at::kFloat);
}

c10::DispatchKeySet below() { return c10::autocast_dispatch_keyset; }

// logits [N,C,*] on the CPU, labels [N,S] i32 within 0..C, contiguous.
// → Σ p·1[label=c] [N,C], Σ p [N,C], Σ p² [N,C] (zeros unless `squares`), log p at the label [N,S]; all f32.
struct LabelSums : torch::autograd::Function<LabelSums> {
  static variable_list forward(AutogradContext* context, const Tensor& logits, const Tensor& labels, bool squares) {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(below());
    const int64_t items = logits.size(0), classes = logits.size(1), voxels = labels.size(1);
    const auto f32 = logits.options().dtype(at::kFloat).memory_format(at::MemoryFormat::Contiguous);
    Tensor inter = at::zeros({items, classes}, f32), pred = at::zeros({items, classes}, f32);
    Tensor square = at::zeros({items, classes}, f32), log = at::empty({items, voxels}, f32);
    const int64_t power = level_power(voxels);
    for (int64_t n = 0; n < items; ++n) {
      const Tensor rows = item(logits, n);
      const int32_t* label = labels.const_data_ptr<int32_t>() + n * voxels;
      float* log_at = log.mutable_data_ptr<float>() + n * voxels;
      std::vector<RowSum> inters(classes), preds(classes);
      std::vector<double> squared(classes, 0.0);
      for (int64_t start = 0; start < voxels; start += kSpan) {
        const int64_t count = std::min(kSpan, voxels - start);
        const Tensor x = span(rows, start, count);
        {
          const Tensor logs = at::log_softmax(x, 1);
          const float* from = logs.const_data_ptr<float>();
          for (int64_t i = 0; i < count; ++i) log_at[start + i] = from[int64_t(label[start + i]) * count + i];
        }
        const Tensor p = at::softmax(x, 1);
        const float* values = p.const_data_ptr<float>();
        at::parallel_for(0, classes, 8, [&](int64_t begin, int64_t end) {
          float scratch[kSpan];
          for (int64_t c = begin; c < end; ++c) {
            const float* row = values + c * count;
            feed(preds[c], row, count, power);
            masked(row, label + start, int32_t(c), count, scratch);
            feed(inters[c], scratch, count, power);
            if (squares) squared[c] += square_sum(row, count);
          }
        });
      }
      for (int64_t c = 0; c < classes; ++c) {
        inter.mutable_data_ptr<float>()[n * classes + c] = total(inters[c]);
        pred.mutable_data_ptr<float>()[n * classes + c] = total(preds[c]);
        square.mutable_data_ptr<float>()[n * classes + c] = float(squared[c]);
      }
    }
    context->save_for_backward({logits, labels});
    context->set_materialize_grads(false);
    return {inter, pred, square, log};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    c10::impl::ExcludeDispatchKeyGuard no_autocast(below());
    const auto saved = context->get_saved_variables();
    const Tensor logits = saved[0].detach(), labels = saved[1];
    const int64_t items = logits.size(0), classes = logits.size(1), voxels = labels.size(1);
    auto dense = [](const Tensor& grad) { return grad.defined() ? grad.to(at::kFloat).contiguous() : grad; };
    const Tensor g_inter = dense(grads[0]), g_pred = dense(grads[1]), g_square = dense(grads[2]), g_log = dense(grads[3]);
    // Keep the layout of the logits if their voxels are evenly strided.
    Tensor out = at::empty_like(logits, logits.options(), at::MemoryFormat::Preserve);
    const bool even = out.select(0, 0).flatten(1).data_ptr() == out.data_ptr();
    if (!even) out = at::empty_like(logits, logits.options(), at::MemoryFormat::Contiguous);
    const auto row = [&](const Tensor& grad, int64_t n) {
      return grad.defined() ? grad.const_data_ptr<float>() + n * classes : nullptr;
    };
    for (int64_t n = 0; n < items; ++n) {
      const Tensor rows = item(logits, n), to = out.select(0, n).flatten(1);
      const int32_t* label = labels.const_data_ptr<int32_t>() + n * voxels;
      const float *gi = row(g_inter, n), *gp = row(g_pred, n), *gs = row(g_square, n);
      const float* gl = g_log.defined() ? g_log.const_data_ptr<float>() + n * voxels : nullptr;
      at::parallel_for(0, (voxels + kBackSpan - 1) / kBackSpan, 1, [&](int64_t begin, int64_t end) {
        c10::impl::ExcludeDispatchKeyGuard no_autocast(below());
        c10::NoGradGuard no_grad;
        float mean[kBackSpan];
        for (int64_t i = begin; i < end; ++i) {
          const int64_t start = i * kBackSpan, count = std::min(kBackSpan, voxels - start);
          Tensor p = at::softmax(span(rows, start, count), 1);
          float* values = p.mutable_data_ptr<float>();
          gradient(values, classes, count, label + start, gi, gp, gs, gl ? gl + start : nullptr, mean);
          to.narrow(1, start, count).copy_(p.squeeze(0));
        }
      });
    }
    return {out, Tensor(), Tensor()};
  }
};

}  // namespace

extern "C" {

// Returns an error message (to be freed by the caller) or null; out: four new tensors.
char* sb_label_sums(const Tensor* logits, const Tensor* labels, int squares, Tensor** out) {
  return sb_caught([&] {
    const variable_list results = LabelSums::apply(*logits, *labels, squares != 0);
    for (size_t i = 0; i < results.size(); ++i) out[i] = new Tensor(results[i]);
  });
}
}
