// Forward and backward passes of the building blocks of SegResNet for training on the CPU, f32 and channels last. Only
// the inputs of normalizations are saved; normalized tensors are recomputed in the backward pass.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "convolution.h"
#include "errors.h"
#include "kernels.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kLast = at::MemoryFormat::ChannelsLast3d;
constexpr int64_t kSpan = 1024;  // voxels per span of `Head`

// The shape of x [N,C,X,Y,Z]; consecutive items are `voxels·C` floats apart.
struct Shape {
  int64_t n, c, x, y, z, voxels;
  explicit Shape(const Tensor& t)
      : n(t.size(0)), c(t.size(1)), x(t.size(2)), y(t.size(3)), z(t.size(4)), voxels(x * y * z) {}
};

const float* read(const Tensor& t, int64_t n, const Shape& s) { return t.const_data_ptr<float>() + n * s.voxels * s.c; }
float* write(const Tensor& t, int64_t n, const Shape& s) { return t.mutable_data_ptr<float>() + n * s.voxels * s.c; }

Tensor empty(const Tensor& like, int64_t channels) {
  const Shape s(like);
  return at::empty({s.n, channels, s.x, s.y, s.z}, like.options().memory_format(kLast));
}

// Sums and sums of squares over the voxels, [N, 2, C] f64.
Tensor empty_moments(const Shape& s, int64_t channels) { return at::empty({s.n, 2, channels}, at::kDouble); }

Tensor moments_of(const Tensor& x) {
  const Shape s(x);
  Tensor out = empty_moments(s, s.c);
  for (int64_t n = 0; n < s.n; ++n)
    sb_moments(0, const_cast<float*>(read(x, n, s)), nullptr, s.voxels, s.c, out[n].mutable_data_ptr<double>());
  return out;
}

// torch.nn.GroupNorm, then ReLU: max(0, x·scale + shift) per item and channel.
struct NormRelu {
  Shape s;
  int64_t groups;
  const float* weight;
  std::vector<float> scale, shift;    // [N, C]
  std::vector<double> mean, inverse;  // [N, groups]; inverse is 1/√(variance + eps)

  NormRelu(const Tensor& x, const Tensor& moments, const Tensor& weight, const Tensor& bias, int64_t groups, double eps)
      : s(x),
        groups(groups),
        weight(weight.const_data_ptr<float>()),
        scale(s.n * s.c),
        shift(s.n * s.c),
        mean(s.n * groups),
        inverse(s.n * groups) {
    for (int64_t n = 0; n < s.n; ++n)
      sb_group_scale(moments.const_data_ptr<double>() + 2 * n * s.c, s.c, groups, s.voxels, this->weight,
                     bias.const_data_ptr<float>(), eps, &scale[n * s.c], &shift[n * s.c], &mean[n * groups],
                     &inverse[n * groups]);
  }

  // Replaces g, the gradient of the result, by the gradient of x, plus `add` if it is defined; returns the gradients of
  // weight and bias [C].
  std::pair<Tensor, Tensor> backward(const Tensor& x, const Tensor& g, const Tensor& add) const {
    std::vector<double> to_weight(s.c, 0.0), to_bias(s.c, 0.0), sums(2 * s.c);
    std::vector<float> a(s.c), b(s.c), d(s.c);
    const int64_t each = s.c / groups;
    const double count = double(each * s.voxels);
    for (int64_t n = 0; n < s.n; ++n) {
      const float *gain = &scale[n * s.c], *offset = &shift[n * s.c];
      sb_relu_sums(read(x, n, s), read(g, n, s), s.voxels, s.c, gain, offset, sums.data());
      for (int64_t group = 0; group < groups; ++group) {
        const double m = mean[n * groups + group], i = inverse[n * groups + group];
        double first = 0, second = 0;  // means of weight·g and of weight·g·x̂ over the group, x̂ = (x − mean)·inverse
        for (int64_t c = group * each; c < (group + 1) * each; ++c) {
          const double sum = sums[c], product = (sums[s.c + c] - m * sum) * i;
          to_bias[c] += sum;
          to_weight[c] += product;
          first += weight[c] * sum / count;
          second += weight[c] * product / count;
        }
        // inverse·(weight·g − first − x̂·second)
        for (int64_t c = group * each; c < (group + 1) * each; ++c) {
          a[c] = gain[c];
          b[c] = float(-i * i * second);
          d[c] = float(i * (i * second * m - first));
        }
      }
      sb_norm_backward(read(x, n, s), write(g, n, s), add.defined() ? read(add, n, s) : nullptr, s.voxels, s.c, gain,
                       offset, a.data(), b.data(), d.data());
    }
    auto tensor = [](const std::vector<double>& values) {
      return at::tensor(values, at::kDouble).to(at::kFloat);
    };
    return {tensor(to_weight), tensor(to_bias)};
  }
};

// Writes conv(norm(x)) to out [N,K,…], or adds it; returns the moments of out.
Tensor convolve_items(const Tensor& x, const NormRelu& norm, const Tensor& packed, const Tensor& out, bool add) {
  const Shape from(x), to(out);
  Tensor moments = empty_moments(to, to.c);
  for (int64_t n = 0; n < from.n; ++n)
    convolve(read(x, n, from), &norm.scale[n * from.c], &norm.shift[n * from.c], from.x, from.y, from.z, from.c,
             packed.const_data_ptr<float>(), to.c, write(out, n, to), add, moments[n].mutable_data_ptr<double>());
  return moments;
}

Tensor packed(const Tensor& weight, bool adjoint) {
  const int64_t k = weight.size(adjoint ? 1 : 0), c = weight.size(adjoint ? 0 : 1);
  Tensor out = at::empty({64 * c * k}, at::kFloat);
  conv3_pack(weight.const_data_ptr<float>(), k, c, adjoint, out.mutable_data_ptr<float>());
  return out;
}

// Computes the gradient of the input of a convolution from the gradient g of its output.
Tensor convolution_adjoint(const Tensor& g, const Tensor& weight) {
  const Shape from(g);
  Tensor out = empty(g, weight.size(1));
  const Shape to(out);
  const Tensor planes = packed(weight, true);
  std::vector<double> unused(2 * to.c);
  for (int64_t n = 0; n < from.n; ++n)
    convolve(read(g, n, from), nullptr, nullptr, from.x, from.y, from.z, from.c, planes.const_data_ptr<float>(), to.c,
             write(out, n, to), false, unused.data());
  return out;
}

Tensor convolution_weight(const Tensor& x, const NormRelu& norm, const Tensor& g) {
  const Shape from(x), to(g);
  Tensor out = at::empty({to.c, from.c, 3, 3, 3}, at::kFloat);
  weight_gradient(read(x, 0, from), norm.scale.data(), norm.shift.data(), read(g, 0, to), from.n, from.x, from.y, from.z,
                  from.c, to.c, out.mutable_data_ptr<float>());
  return out;
}

// x + conv(norm(conv(norm(x)))), where norm includes ReLU.
struct ResidualBlock : torch::autograd::Function<ResidualBlock> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& weight1, const Tensor& bias1,
                        const Tensor& conv1, const Tensor& weight2, const Tensor& bias2, const Tensor& conv2,
                        int64_t groups1, double eps1, int64_t groups2, double eps2) {
    const Tensor x = input.contiguous(kLast);
    const Tensor moments1 = moments_of(x);
    const NormRelu norm1(x, moments1, weight1, bias1, groups1, eps1);
    const Tensor y = empty(x, conv1.size(0));
    const Tensor moments2 = convolve_items(x, norm1, packed(conv1, false), y, false);
    const NormRelu norm2(y, moments2, weight2, bias2, groups2, eps2);
    const Tensor out = empty(x, x.size(1)).copy_(x);
    convolve_items(y, norm2, packed(conv2, false), out, true);
    context->save_for_backward({x, weight1, bias1, conv1, weight2, bias2, conv2, moments1, y, moments2});
    context->saved_data["groups"] = std::vector<int64_t>{groups1, groups2};
    context->saved_data["eps"] = std::vector<double>{eps1, eps2};
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &conv1 = saved[3], &conv2 = saved[6], &y = saved[8];
    const auto groups = context->saved_data["groups"].toIntVector();
    const auto eps = context->saved_data["eps"].toDoubleVector();
    const NormRelu norm1(x, saved[7], saved[1], saved[2], groups[0], eps[0]);
    const NormRelu norm2(y, saved[9], saved[4], saved[5], groups[1], eps[1]);
    const Tensor g = grads[0].contiguous(kLast);
    variable_list out(11);
    if (context->needs_input_grad(6)) out[6] = convolution_weight(y, norm2, g);
    const Tensor to_y = convolution_adjoint(g, conv2);
    std::tie(out[4], out[5]) = norm2.backward(y, to_y, Tensor());
    if (context->needs_input_grad(3)) out[3] = convolution_weight(x, norm1, to_y);
    out[0] = convolution_adjoint(to_y, conv1);
    std::tie(out[1], out[2]) = norm1.backward(x, out[0], g);
    return out;
  }
};

// x upsampled by 2 with trilinear interpolation, plus skip.
struct UpsampleAdd : torch::autograd::Function<UpsampleAdd> {
  static Tensor forward(AutogradContext*, const Tensor& input, const Tensor& skip_input) {
    const Tensor x = input.contiguous(kLast), skip = skip_input.contiguous(kLast), out = empty(skip, skip.size(1));
    const Shape from(x), to(out);
    std::vector<double> unused(2 * from.c);
    for (int64_t n = 0; n < from.n; ++n)
      sb_upsample(0, read(x, n, from), read(skip, n, to), write(out, n, to), from.x, from.y, from.z, from.c, unused.data());
    return out;
  }

  static variable_list backward(AutogradContext*, variable_list grads) {
    const Tensor g = grads[0].contiguous(kLast);
    const Shape from(g);
    const Tensor out = at::empty({from.n, from.c, from.x / 2, from.y / 2, from.z / 2}, g.options().memory_format(kLast));
    const Shape to(out);
    for (int64_t n = 0; n < to.n; ++n)
      sb_upsample_adjoint(read(g, n, from), write(out, n, to), to.x, to.y, to.z, to.c);
    return {out, g};
  }
};

// A 1×1×1 convolution of the normalized x [N,C,X,Y,Z] to [N,K,X,Y,Z], channels first as expected by losses and argmax.
struct Head : torch::autograd::Function<Head> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& norm_weight, const Tensor& norm_bias,
                        const Tensor& weight, const Tensor& bias, int64_t groups, double eps) {
    const Tensor x = input.contiguous(kLast), moments = moments_of(x);
    const NormRelu norm(x, moments, norm_weight, norm_bias, groups, eps);
    const Shape s(x);
    const int64_t k = weight.size(0);
    const Tensor out = at::empty({s.n, k, s.x, s.y, s.z}, x.options().memory_format(at::MemoryFormat::Contiguous));
    const Tensor matrix = weight.detach().view({k, s.c}), offset = bias.detach().view({k, 1});
    over_spans(norm, x, 0, [&](int64_t, int64_t n, int64_t start, int64_t count, const Tensor& h) {
      Tensor to = out[n].view({k, s.voxels}).narrow(1, start, count);
      at::addmm_out(to, offset, matrix, h.t());
    });
    context->save_for_backward({x, norm_weight, norm_bias, weight, bias, moments});
    context->saved_data["groups"] = groups;
    context->saved_data["eps"] = eps;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[3];
    const NormRelu norm(x, saved[5], saved[1], saved[2], context->saved_data["groups"].toInt(),
                        context->saved_data["eps"].toDouble());
    const Shape s(x);
    const int64_t k = weight.size(0), parts = at::get_num_threads();
    const Tensor g = grads[0].contiguous(), out = empty(x, s.c), matrix = weight.detach().view({k, s.c});
    const Tensor to_weight = at::zeros({parts, k, s.c}, at::kFloat), to_bias = at::zeros({parts, k}, at::kFloat);
    over_spans(norm, x, parts, [&](int64_t part, int64_t n, int64_t start, int64_t count, const Tensor& h) {
      const Tensor rows = g[n].view({k, s.voxels}).narrow(1, start, count);
      Tensor to = at::from_blob(write(out, n, s) + start * s.c, {count, s.c}, at::kFloat);
      at::mm_out(to, rows.t(), matrix);
      to_weight[part].addmm_(rows, h);
      to_bias[part].add_(rows.sum(1));
    });
    variable_list result(7);
    result[3] = to_weight.sum(0).view(weight.sizes());
    result[4] = to_bias.sum(0);
    std::tie(result[1], result[2]) = norm.backward(x, out, Tensor());
    result[0] = out;
    return result;
  }

 private:
  // Calls `work(part, n, start, count, h)` for all spans of voxels of all items, where h [count, C] is the normalized
  // x. Spans are divided into `parts` runs, each on one thread; if `parts` is 0, each span is its own part.
  template <class Work>
  static void over_spans(const NormRelu& norm, const Tensor& x, int64_t parts, const Work& work) {
    const Shape s(x);
    const int64_t spans = (s.voxels + kSpan - 1) / kSpan, all = s.n * spans;
    if (parts == 0) parts = all;
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      const at::NoGradGuard no_grad;
      const Tensor h = at::empty({kSpan, s.c}, at::kFloat);
      for (int64_t part = begin; part < end; ++part)
        for (int64_t i = all * part / parts; i < all * (part + 1) / parts; ++i) {
          const int64_t n = i / spans, start = i % spans * kSpan, count = std::min(kSpan, s.voxels - start);
          sb_affine(0, read(x, n, s) + start * s.c, h.mutable_data_ptr<float>(), count, s.c, &norm.scale[n * s.c],
                    &norm.shift[n * s.c], 1);
          work(part, n, start, count, h.narrow(0, 0, count));
        }
    });
  }
};

}  // namespace

extern "C" {

char* sb_residual_block(const Tensor* x, const Tensor* const weights[6], const int64_t groups[2], const double eps[2],
                        Tensor** out) {
  return sb_caught([&] {
    *out = new Tensor(ResidualBlock::apply(*x, *weights[0], *weights[1], *weights[2], *weights[3], *weights[4],
                                           *weights[5], groups[0], eps[0], groups[1], eps[1]));
  });
}

char* sb_upsample_add(const Tensor* x, const Tensor* skip, Tensor** out) {
  return sb_caught([&] { *out = new Tensor(UpsampleAdd::apply(*x, *skip)); });
}

char* sb_norm_head(const Tensor* x, const Tensor* const weights[4], int64_t groups, double eps, Tensor** out) {
  return sb_caught([&] {
    *out = new Tensor(Head::apply(*x, *weights[0], *weights[1], *weights[2], *weights[3], groups, eps));
  });
}
}
