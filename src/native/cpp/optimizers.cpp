// Steps of torch.optim's optimizers (torch 2.11) with libtorch's _foreach operators: on a GPU, the kernels that Python
// uses by default; on a CPU, the same operations tensor by tensor, which is Python's default there.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <vector>

#include "errors.h"

namespace {

using at::Tensor;

std::vector<Tensor> list(Tensor* const* tensors, int64_t n) {
  std::vector<Tensor> out;
  out.reserve(n);
  for (int64_t i = 0; i < n; ++i) out.push_back(*tensors[i]);
  return out;
}

}  // namespace

extern "C" {

struct SbAdam {
  double lr, beta1, beta2, eps, weight_decay;
  int amsgrad, maximize, decoupled;
};

// params: parameters with a gradient; steps: the step number of each; maxima: null without amsgrad.
char* sb_adam(int64_t n, Tensor* const* params_, Tensor* const* averages_, Tensor* const* squares_,
              Tensor* const* maxima_, const double* steps, const SbAdam* o) {
  return sb_caught([&] {
    c10::NoGradGuard no_grad;
    const auto params = list(params_, n), averages = list(averages_, n), squares = list(squares_, n);
    std::vector<Tensor> grads;
    for (const Tensor& param : params) grads.push_back(param.grad());
    if (o->maximize) grads = at::_foreach_neg(grads);
    if (o->weight_decay != 0) {
      if (o->decoupled)
        at::_foreach_mul_(params, 1 - o->lr * o->weight_decay);
      else if (o->maximize)
        at::_foreach_add_(grads, params, o->weight_decay);
      else
        grads = at::_foreach_add(grads, params, o->weight_decay);
    }
    at::_foreach_lerp_(averages, grads, 1 - o->beta1);
    at::_foreach_mul_(squares, o->beta2);
    at::_foreach_addcmul_(squares, grads, grads, 1 - o->beta2);
    grads.clear();
    std::vector<at::Scalar> roots, sizes;
    for (int64_t i = 0; i < n; ++i) {
      sizes.push_back(o->lr / (1 - std::pow(o->beta1, steps[i])) * -1);
      roots.push_back(std::sqrt(1 - std::pow(o->beta2, steps[i])));
    }
    std::vector<Tensor> denominators;
    if (o->amsgrad) {
      const auto maxima = list(maxima_, n);
      at::_foreach_maximum_(maxima, squares);
      denominators = at::_foreach_sqrt(maxima);
    } else {
      denominators = at::_foreach_sqrt(squares);
    }
    at::_foreach_div_(denominators, roots);
    at::_foreach_add_(denominators, o->eps);
    at::_foreach_addcdiv_(params, averages, denominators, sizes);
  });
}

struct SbSgd {
  double lr, momentum, dampening, weight_decay;
  int nesterov, maximize;
};

// buffers: one tensor per parameter if momentum is not 0; fresh: whether this step initializes the buffer.
char* sb_sgd(int64_t n, Tensor* const* params_, Tensor* const* buffers_, const int* fresh, const SbSgd* o) {
  return sb_caught([&] {
    c10::NoGradGuard no_grad;
    const auto params = list(params_, n);
    std::vector<Tensor> grads;
    for (const Tensor& param : params) grads.push_back(param.grad());
    if (o->maximize) grads = at::_foreach_neg(grads);
    if (o->weight_decay != 0) {
      if (o->maximize)
        at::_foreach_add_(grads, params, o->weight_decay);
      else
        grads = at::_foreach_add(grads, params, o->weight_decay);
    }
    if (o->momentum != 0) {
      const auto buffers = list(buffers_, n);
      for (int64_t i = 0; i < n; ++i) {
        if (fresh[i])
          buffers[i].copy_(grads[i]);
        else
          buffers[i].mul_(o->momentum).add_(grads[i], 1 - o->dampening);
      }
      // Gradients may be the parameters' own tensors: do not modify them in place.
      grads = o->nesterov ? at::_foreach_add(grads, buffers, o->momentum) : buffers;
    }
    at::_foreach_add_(params, grads, -o->lr);
  });
}

// Equivalent to `p.grad = None`.
char* sb_clear_gradients(int64_t n, Tensor* const* params) {
  return sb_caught([&] {
    for (int64_t i = 0; i < n; ++i) params[i]->mutable_grad() = Tensor();
  });
}
}
