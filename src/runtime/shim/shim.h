// What tch lacks: operator observation, packed weights, detection's operators, libtorch's threads, device events, allocator
// statistics, device graphs.
// Device parts use libtorch's device-generic interfaces (c10::Event, at::accelerator), so that
// one source serves CPU builds and CUDA builds and needs no CUDA header.
//
// Functions return 0, or -1 with the message in re_last_error().
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
const char* re_last_error();

// Operators run by this thread between start and stop. `row` is called once per operator name.
typedef void (*re_row)(void* user, const char* name, int64_t calls, double self_seconds, double flops);
int re_observe_start();
int re_observe_stop(re_row row, void* user);

int re_event_new(int64_t device, void** event);
int re_event_record(void* event, int64_t device);
int re_event_elapsed_ms(void* start, void* end, double* ms);
void re_event_free(void* event);

int re_memory_peak(int64_t device, int64_t* bytes);
int re_memory_reset_peak(int64_t device);
int re_synchronize(int64_t device);

// For all devices of the process: TF32 in fp32 matrix products and convolutions or not; cuDNN's
// deterministic algorithms, chosen without trials; parts of a 16-bit product may be added up in 16
// bits (libtorch's default).
int re_set_arithmetic(int allow_tf32);

// Autocast of the CPU (cuda = 0) or CUDA to `dtype` (at::ScalarType) for the calling thread; what
// was set before comes out, and goes back in at the end.
int re_autocast_enter(int cuda, int dtype, int* was_enabled, int* was_dtype);
int re_autocast_exit(int cuda, int was_enabled, int was_dtype);

// oneDNN on packed weights; tensors are at::Tensor*, outputs are owned by the caller. `attr` and
// `algorithm` are those of libtorch's mkldnn:: operators; `bias` may be null.
int re_linear_pack(const void* weight, void** packed);
int re_linear_packed(const void* x, const void* packed, const void* bias, const char* attr, const char* algorithm,
                     void** y);
// input_size: four numbers, or null for whatever size.
int re_conv_pack(const void* weight, int64_t stride, int64_t padding, int64_t groups, const int64_t* input_size,
                 void** packed);
int re_conv_packed(const void* x, const void* packed, const void* bias, int64_t stride, int64_t padding,
                   int64_t groups, const char* attr, const char* algorithm, void** y);

// RoIAlign on the CPU, differentiable in `map` [B,C,H,W]; `rois` [K,5]: image, x0, y0, x1, y1.
int re_roi_align(const void* map, const void* rois, int64_t height, int64_t width, double scale, int64_t ratio,
                 int aligned, void** out);

// Indices kept by non-maximum suppression within each label (null: all of one class), best first.
int re_nms(const void* boxes, const void* scores, const void* labels, double threshold, void** keep);

// Calls `work` once on each of libtorch's threads, all at once, and waits for them; `work` must not throw.
int re_on_every_thread(void (*work)(void* user), void* user);

// The TorchScript program at `path` in evaluation mode, cast to the precision of `like`; `sink` is
// called once with what torch.jit.save would write.
typedef void (*re_bytes)(void* user, const char* data, size_t length);
int re_program_prepare(const char* path, const void* like, re_bytes sink, void* user, int64_t* parameters);

// A captured forward pass: begin, run it once, end, then replay as often as wanted.
int re_graph_begin(int64_t device, void** graph);
int re_graph_end(void* graph);
int re_graph_replay(void* graph);
void re_graph_free(void* graph);
}
