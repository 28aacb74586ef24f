// oneDNN's matrix products and convolutions on weights laid out for them once, with a pointwise
// operation in the same pass (libtorch's `mkldnn::` operators, which tch does not bind).
#include "shim.h"
#include "status.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace {

const at::Tensor& ref(const void* tensor) { return *static_cast<const at::Tensor*>(tensor); }

void* own(at::Tensor tensor) { return new at::Tensor(std::move(tensor)); }

c10::IValue optional(const void* tensor) {
  return tensor ? c10::IValue(ref(tensor)) : c10::IValue();
}

at::Tensor call(const char* name, std::vector<c10::IValue> stack) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  op.callBoxed(&stack);
  return stack.front().toTensor();
}

void push_pointwise(std::vector<c10::IValue>& stack, const char* attr, const char* algorithm) {
  stack.emplace_back(std::string(attr));
  stack.emplace_back(c10::List<std::optional<at::Scalar>>());
  stack.emplace_back(std::string(algorithm));
}

}  // namespace

int re_linear_pack(const void* weight, void** packed) {
  return status([&] {
    *packed = own(call("mkldnn::_reorder_linear_weight", {ref(weight).contiguous(), c10::IValue()}));
  });
}

int re_linear_packed(const void* x, const void* packed, const void* bias, const char* attr,
                     const char* algorithm, void** y) {
  return status([&] {
    std::vector<c10::IValue> stack{ref(x), ref(packed), optional(bias)};
    push_pointwise(stack, attr, algorithm);
    *y = own(call("mkldnn::_linear_pointwise", std::move(stack)));
  });
}

int re_conv_pack(const void* weight, int64_t stride, int64_t padding, int64_t groups, const int64_t* input_size,
                 void** packed) {
  return status([&] {
    // oneDNN turns one packed layout into another by its reference code; from a plain one it is fast.
    const at::Tensor& w = ref(weight);
    const at::Tensor plain = (w.is_mkldnn() ? w.to_dense() : w).contiguous();
    at::OptionalIntArrayRef size;
    if (input_size) size = at::IntArrayRef(input_size, 4);
    *packed = own(at::mkldnn_reorder_conv2d_weight(plain.to_mkldnn(), {padding, padding}, {stride, stride}, {1, 1},
                                                   groups, size));
  });
}

int re_conv_packed(const void* x, const void* packed, const void* bias, int64_t stride, int64_t padding,
                   int64_t groups, const char* attr, const char* algorithm, void** y) {
  return status([&] {
    const auto both = [](int64_t n) { return std::vector<int64_t>{n, n}; };
    std::vector<c10::IValue> stack{ref(x), ref(packed), optional(bias), both(padding), both(stride), both(1), groups};
    push_pointwise(stack, attr, algorithm);
    *y = own(call("mkldnn::_convolution_pointwise", std::move(stack)));
  });
}
