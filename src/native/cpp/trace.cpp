// Networks as TorchScript files: records the operations of a forward pass.
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/tracer.h>

#include <map>
#include <stdexcept>
#include <string>

#include "errors.h"

namespace {

using torch::jit::Module;
using torch::jit::Stack;

// Submodules by their path: the tensor `a.b.weight` belongs to the module `b` of the module `a`.
class Modules {
 public:
  explicit Modules(const std::string& name) : name_("__torch__." + name), units_(std::make_shared<torch::jit::CompilationUnit>()) {
    add("", name_);
  }
  Module& root() { return all_.at(""); }
  void add_tensor(const std::string& path, const at::Tensor& tensor) {
    const auto dot = path.rfind('.');
    Module& owner = at(dot == std::string::npos ? "" : path.substr(0, dot));
    owner.register_parameter(path.substr(dot + 1), tensor, /*is_buffer=*/!tensor.requires_grad());
  }

 private:
  Module& add(const std::string& path, const std::string& name) {
    Module module(c10::QualifiedName(name), units_, /*shouldMangle=*/true);
    // Python reads and sets this attribute in `module.eval()`.
    if (!module.hasattr("training")) module.register_attribute("training", c10::BoolType::get(), false);
    return all_.emplace(path, module).first->second;
  }
  Module& at(const std::string& path) {
    const auto found = all_.find(path);
    if (found != all_.end()) return found->second;
    const auto dot = path.rfind('.');
    Module& owner = at(dot == std::string::npos ? "" : path.substr(0, dot));
    Module& module = add(path, name_ + "Part");
    owner.register_module(path.substr(dot + 1), module);
    return module;
  }

  std::string name_;
  std::shared_ptr<torch::jit::CompilationUnit> units_;
  std::map<std::string, Module> all_;
};

}  // namespace

extern "C" {

// Computes the output of x, which stays owned by the caller; null after an error.
using sb_forward = const at::Tensor* (*)(void* context, const at::Tensor* x);

// Writes the network to `path`: its tensors by name, the operations that `forward` applies to x, and `extras` files,
// given as pairs of a name and a text.
char* sb_trace(const char* name, int64_t tensors, const char* const* names, const at::Tensor* const* values,
               const at::Tensor* x, sb_forward forward, void* context, int64_t extras, const char* const* texts,
               const char* path) {
  return sb_caught([&] {
    Modules modules(name);
    for (int64_t i = 0; i < tensors; ++i) modules.add_tensor(names[i], *values[i]);
    Module& module = modules.root();
    const auto run = [&](Stack inputs) -> Stack {
      const at::Tensor input = inputs.at(0).toTensor();
      const at::Tensor* output = forward(context, &input);
      if (!output) throw std::runtime_error("the forward pass failed");
      return {*output};
    };
    const auto unnamed = [](const at::Tensor&) { return std::string(); };
    const auto traced = torch::jit::tracer::trace({*x}, run, unnamed, /*strict=*/true, /*force_outplace=*/false, &module,
                                                  std::vector<std::string>{"x"});
    auto* function = module._ivalue()->compilation_unit()->create_function(
        c10::QualifiedName(*module.type()->name(), "forward"), traced.first->graph);
    module.type()->addMethod(function);
    torch::jit::ExtraFilesMap files;
    for (int64_t i = 0; i < extras; ++i) files[texts[2 * i]] = texts[2 * i + 1];
    module.save(path, files);
  });
}
}
