// Autocast of one device type, for the calling thread.
#include "shim.h"
#include "status.h"

#include <ATen/autocast_mode.h>

namespace {
at::DeviceType device_type(int cuda) { return cuda ? at::kCUDA : at::kCPU; }
}  // namespace

int re_autocast_enter(int cuda, int dtype, int* was_enabled, int* was_dtype) {
  return status([&] {
    const auto device = device_type(cuda);
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *was_dtype = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype));
    at::autocast::increment_nesting();
  });
}

int re_autocast_exit(int cuda, int was_enabled, int was_dtype) {
  return status([&] {
    const auto device = device_type(cuda);
    // The copies of the weights in fewer bits live until the outermost region ends.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(was_dtype));
  });
}
