// Events, memory statistics and graphs of the accelerator.
#include "shim.h"
#include "status.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/accelerator/Graph.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>

namespace {

c10::Device cuda(int64_t index) {
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

// Another device and stream as the current ones of this thread, until it goes.
class Elsewhere {
 public:
  explicit Elsewhere(c10::Device device)
      : guard_(c10::DeviceType::CUDA),
        device_(guard_.exchangeDevice(device)),
        stream_(guard_.exchangeStream(guard_.getStreamFromGlobalPool(device))) {}
  Elsewhere(const Elsewhere&) = delete;
  ~Elsewhere() {
    // The stream first: it is that of the device captured on.
    guard_.exchangeStream(stream_);
    guard_.uncheckedSetDevice(device_);
  }

 private:
  c10::impl::VirtualGuardImpl guard_;
  c10::Device device_;
  c10::Stream stream_;
};

// libtorch captures on the current device, from a stream other than the default one.
struct Graph {
  at::accelerator::Graph graph;
  std::unique_ptr<Elsewhere> elsewhere;
};

}  // namespace

const char* re_last_error() { return last_error.c_str(); }

int re_event_new(int64_t device, void** event) {
  return status([&] {
    (void)device;
    *event = new c10::Event(c10::DeviceType::CUDA, c10::EventFlag::BACKEND_DEFAULT);
  });
}

int re_event_record(void* event, int64_t device) {
  return status([&] {
    auto stream = at::accelerator::getCurrentStream(static_cast<c10::DeviceIndex>(device));
    static_cast<c10::Event*>(event)->record(stream);
  });
}

int re_event_elapsed_ms(void* start, void* end, double* ms) {
  return status([&] {
    auto* last = static_cast<c10::Event*>(end);
    last->synchronize();
    *ms = static_cast<c10::Event*>(start)->elapsedTime(*last);
  });
}

void re_event_free(void* event) { delete static_cast<c10::Event*>(event); }

int re_memory_peak(int64_t device, int64_t* bytes) {
  return status([&] {
    const auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

int re_memory_reset_peak(int64_t device) {
  return status([&] { at::accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

int re_synchronize(int64_t device) {
  return status([&] { at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(device)); });
}

int re_set_arithmetic(int allow_tf32) {
  return status([&] {
    auto& context = at::globalContext();
    const bool allow = allow_tf32 != 0;
    context.setAllowTF32CuBLAS(allow);
    context.setAllowTF32CuDNN(allow);
    TORCH_CHECK(context.allowTF32CuBLAS() == allow && context.allowTF32CuDNN() == allow,
                "libtorch keeps TF32 ", allow ? "off" : "on",
                "; is TORCH_ALLOW_TF32_CUBLAS_OVERRIDE or NVIDIA_TF32_OVERRIDE set? Unset it");
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setAllowBF16ReductionCuBLAS(true);
    context.setAllowFP16ReductionCuBLAS(true);
  });
}

int re_graph_begin(int64_t device, void** graph) {
  return status([&] {
    // What is queued on the other stream comes first.
    at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(device));
    auto capture = std::make_unique<Graph>();
    capture->elsewhere = std::make_unique<Elsewhere>(cuda(device));
    capture->graph.capture_begin();
    *graph = capture.release();
  });
}

int re_graph_end(void* graph) {
  return status([&] {
    auto* capture = static_cast<Graph*>(graph);
    // Goes at the end, even where ending throws.
    const auto elsewhere = std::move(capture->elsewhere);
    capture->graph.capture_end();
  });
}

int re_graph_replay(void* graph) {
  return status([&] { static_cast<Graph*>(graph)->graph.replay(); });
}

void re_graph_free(void* graph) { delete static_cast<Graph*>(graph); }
