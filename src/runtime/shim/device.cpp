// Events, memory statistics and graphs of the accelerator.
#include "shim.h"
#include "status.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/accelerator/Graph.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

c10::Device cuda(int64_t index) {
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

// A capture needs a stream other than the default one; the caller's stream comes back at the end.
struct Graph {
  c10::Stream before;
  at::accelerator::Graph graph;
  explicit Graph(c10::Stream s) : before(s) {}
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

int re_allow_tf32(int allow) {
  return status([&] {
    at::globalContext().setAllowTF32CuBLAS(allow != 0);
    at::globalContext().setAllowTF32CuDNN(allow != 0);
  });
}

int re_graph_begin(int64_t device, void** graph) {
  return status([&] {
    c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    auto capture = std::make_unique<Graph>(guard.getStream(cuda(device)));
    at::accelerator::setCurrentStream(guard.getStreamFromGlobalPool(cuda(device)));
    capture->graph.capture_begin();
    *graph = capture.release();
  });
}

int re_graph_end(void* graph) {
  return status([&] {
    auto* capture = static_cast<Graph*>(graph);
    capture->graph.capture_end();
    at::accelerator::setCurrentStream(capture->before);
  });
}

int re_graph_replay(void* graph) {
  return status([&] { static_cast<Graph*>(graph)->graph.replay(); });
}

void re_graph_free(void* graph) { delete static_cast<Graph*>(graph); }
