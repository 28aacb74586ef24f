// The device of the strict tests: memory of the host under another name.
#pragma once
#include <ATen/ATen.h>

namespace strict {

constexpr auto kDevice = c10::DeviceType::MPS;

c10::Allocator* allocator();

// `tensor`'s memory as a CPU tensor; shares it, and keeps it alive.
at::Tensor on_host(const at::Tensor& tensor);

}  // namespace strict
