// TorchScript programs made ready to run: tch cannot cast the floating-point tensors of one alone
// (its `to` turns index tables into floats too).
#include "shim.h"
#include "status.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sstream>

namespace {

void cast(at::Tensor tensor, at::ScalarType kind) {
  if (at::isFloatingType(tensor.scalar_type())) tensor.set_data(tensor.to(kind));
}

}  // namespace

int re_program_prepare(const char* path, const void* like, re_bytes sink, void* user, int64_t* parameters) {
  return status([&] {
    const at::NoGradGuard no_grad;
    auto program = torch::jit::load(path, c10::kCPU);
    program.eval();
    *parameters = 0;
    for (const auto& parameter : program.parameters()) *parameters += parameter.numel();
    const auto kind = static_cast<const at::Tensor*>(like)->scalar_type();
    for (const auto& parameter : program.parameters()) cast(parameter, kind);
    for (const auto& buffer : program.buffers()) cast(buffer, kind);
    std::ostringstream out;
    // Not frozen: torch::jit::freeze brought nothing that stood out of the noise on two networks, and
    // who saves a program can freeze it first.
    program.save(out);
    const auto bytes = out.view();
    sink(user, bytes.data(), bytes.size());
  });
}
