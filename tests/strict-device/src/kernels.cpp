// What runs on the strict device: copies, views, and everything else on the CPU behind checks.
#include "backend.h"

#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <torch/library.h>

#include <set>
#include <string>

namespace {

using at::Tensor;
using c10::IValue;
using Options = std::optional<at::ScalarType>;

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::MPS);

thread_local int64_t uploads = 0;

bool is_own(const Tensor& t) { return t.device().type() == strict::kDevice; }

// Memory.

Tensor empty(at::IntArrayRef size, Options kind, std::optional<at::Layout>, std::optional<at::Device>,
             std::optional<bool> pinned, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "only memory of the host can be pinned");
  return at::detail::empty_generic(size, strict::allocator(), kKeys, at::dtype_or_default(kind), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, Options kind, std::optional<at::Layout>,
                     std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, strict::allocator(), kKeys, at::dtype_or_default(kind));
}

const Tensor& resize_(const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  at::native::resize_impl_cpu_(self.unsafeGetTensorImpl(), size, std::nullopt);
  if (format) self.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  return self;
}

// Copies between host and device, and on the device.
void transfer(const Tensor& from, const Tensor& to) {
  if (!is_own(from) && is_own(to) && from.numel() > 1) ++uploads;
  const auto host = [](const Tensor& t) { return is_own(t) ? strict::on_host(t) : t; };
  host(to).copy_(host(from));
}

Tensor& copy_(Tensor& self, const Tensor& from, bool) {
  transfer(from, self);
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool) {
  transfer(self, to);
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  if (self.sizes() != to.sizes()) to.resize_(self.sizes());
  transfer(self, to);
  return to;
}

at::Scalar local_scalar_dense(const Tensor& self) { return strict::on_host(self).item(); }

// Everything else.

// A tensor of the host among those of the device; a number in a tensor of no dimension is taken, as
// on CUDA.
void check_device(const c10::OperatorHandle& op, const Tensor& tensor) {
  if (!tensor.defined() || is_own(tensor)) return;
  TORCH_CHECK(tensor.dim() == 0, "Expected all tensors to be on the same device, but found at least two devices, ",
              at::Device(strict::kDevice, 0), " and ", tensor.device(), "! (", op.schema().name(), ")");
}

void check_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  for (const IValue& value : torch::jit::last(stack, op.schema().arguments().size())) {
    if (value.isTensor()) {
      check_device(op, value.toTensor());
    } else if (value.isTensorList()) {
      for (const Tensor& tensor : value.toTensorVector()) check_device(op, tensor);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector())
        if (tensor) check_device(op, *tensor);
    }
  }
}

// CUDA has no matrix products of integers (`"addmm_cuda" not implemented for 'Long'`), and its
// decompositions no 16-bit floats.
void check_kind(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  static const std::set<std::string> products = {"aten::mm",    "aten::bmm",     "aten::addmm", "aten::baddbmm",
                                                 "aten::addmv", "aten::addbmm", "aten::dot",   "aten::mv"};
  static const std::set<std::string> decompositions = {
      "aten::_linalg_svd",        "aten::_linalg_eigh",      "aten::linalg_qr",   "aten::linalg_inv_ex",
      "aten::linalg_cholesky_ex", "aten::linalg_lu_factor_ex", "aten::_linalg_det", "aten::_linalg_solve_ex"};
  const auto& name = op.schema().name();
  const bool product = products.count(name), decomposition = decompositions.count(name);
  if (!product && !decomposition) return;
  for (const IValue& value : torch::jit::last(stack, op.schema().arguments().size())) {
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    const auto kind = value.toTensor().scalar_type();
    TORCH_CHECK(!product || !at::isIntegralType(kind, true), "\"", name, "\" not implemented for '", kind, "'");
    TORCH_CHECK(!decomposition || !at::isReducedFloatingType(kind), "\"", name, "\" not implemented for '", kind, "'");
  }
}

// Query, key and value of one type; a mask of bools or of that type.
void check_attention(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  if (op.schema().name() != "aten::scaled_dot_product_attention") return;
  const auto arguments = torch::jit::last(stack, op.schema().arguments().size());
  const auto kind = arguments[0].toTensor().scalar_type();
  for (size_t i : {1, 2}) {
    TORCH_CHECK(arguments[i].toTensor().scalar_type() == kind,
                "Expected query, key, and value to have the same dtype, but got ", kind, " and ",
                arguments[i].toTensor().scalar_type());
  }
  if (arguments[3].isNone() || !arguments[3].toTensor().defined()) return;
  const auto mask = arguments[3].toTensor().scalar_type();
  TORCH_CHECK(mask == at::kBool || mask == kind, "invalid dtype for bias - should match query's dtype: mask is ",
              mask, ", query is ", kind);
}

void compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  check_devices(op, *stack);
  check_kind(op, *stack);
  check_attention(op, *stack);
  // The fallback's own copies are not the program's.
  const int64_t before = uploads;
  at::native::cpu_fallback(op, stack);
  uploads = before;
}

TORCH_LIBRARY_IMPL(_, MPS, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>()); }

TORCH_LIBRARY_IMPL(aten, MPS, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("resize_", TORCH_FN(resize_));
  m.impl("copy_", TORCH_FN(copy_));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar_dense));
  // Composite operators that would ask for kernels of the real device.
  for (const char* name : {"convolution", "_convolution", "convolution_backward", "convolution_overrideable",
                           "scaled_dot_product_attention"}) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&compute>());
  }
}

}  // namespace

extern "C" int64_t strict_device_uploads() { return uploads; }
