// RoIAlign (He et al. 2017) on the CPU with torchvision's rules, differentiable in the feature map.
#include "shim.h"
#include "status.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

// The inner loops run over channels; one copy for each width of vectors that processors have.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST_VECTORS __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define WIDEST_VECTORS
#endif

namespace {

struct Settings {
  int64_t height, width;  // of the output
  double scale;
  int64_t ratio;  // samples per bin and axis; adaptive where not positive
  bool aligned;
};

// One sample along one axis: two neighbours and their weights; both weights 0 outside.
struct Tap {
  int64_t low, high;
  float low_weight, high_weight;
};

// Where a region of interest is sampled.
struct Region {
  int64_t image;
  int64_t rows, columns;  // samples per bin
  std::vector<Tap> y, x;  // height * rows, width * columns
};

Tap tap(float at, int64_t length) {
  if (at < -1.0f || at > static_cast<float>(length)) return {0, 0, 0.0f, 0.0f};
  if (at <= 0.0f) at = 0.0f;
  const auto low = static_cast<int64_t>(at);
  if (low >= length - 1) return {length - 1, length - 1, 1.0f, 0.0f};
  const float fraction = at - static_cast<float>(low);
  return {low, low + 1, 1.0f - fraction, fraction};
}

std::vector<Tap> taps(float start, float extent, int64_t bins, int64_t samples, int64_t length) {
  const float bin = extent / static_cast<float>(bins);
  std::vector<Tap> taps;
  taps.reserve(bins * samples);
  for (int64_t b = 0; b < bins; ++b)
    for (int64_t i = 0; i < samples; ++i) {
      const float inside = (static_cast<float>(i) + 0.5f) * bin / static_cast<float>(samples);
      taps.push_back(tap(start + static_cast<float>(b) * bin + inside, length));
    }
  return taps;
}

std::vector<Region> regions(const at::Tensor& rois, const Settings& s, int64_t images, int64_t height,
                            int64_t width) {
  const auto roi = rois.accessor<float, 2>();
  std::vector<Region> regions(rois.size(0));
  const float offset = s.aligned ? 0.5f : 0.0f;
  const auto scale = static_cast<float>(s.scale);
  for (int64_t k = 0; k < rois.size(0); ++k) {
    Region& region = regions[k];
    region.image = static_cast<int64_t>(roi[k][0]);
    TORCH_CHECK(region.image >= 0 && region.image < images, "region ", k, " is of image ", region.image, " of ",
                images);
    const float x0 = roi[k][1] * scale - offset, y0 = roi[k][2] * scale - offset;
    float w = roi[k][3] * scale - offset - x0, h = roi[k][4] * scale - offset - y0;
    TORCH_CHECK(std::isfinite(x0 + y0 + w + h), "region ", k, " is not finite");
    if (!s.aligned) {
      w = std::max(w, 1.0f);
      h = std::max(h, 1.0f);
    }
    const auto samples = [&](float extent, int64_t bins) {
      if (s.ratio > 0) return s.ratio;
      return std::max<int64_t>(0, static_cast<int64_t>(std::ceil(extent / static_cast<float>(bins))));
    };
    region.rows = samples(h, s.height);
    region.columns = samples(w, s.width);
    region.y = taps(y0, h, s.height, region.rows, height);
    region.x = taps(x0, w, s.width, region.columns, width);
  }
  return regions;
}

WIDEST_VECTORS void add_four(float* out, const float* a, const float* b, const float* c, const float* d, float wa,
                             float wb, float wc, float wd, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
}

WIDEST_VECTORS void add_scaled(float* out, const float* x, float weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += weight * x[i];
}

WIDEST_VECTORS void scale_all(float* out, float weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] *= weight;
}

// Calls visit(bin, y tap, x tap, 1 / samples) for every sample of a region.
template <class F>
void each_sample(const Region& region, const Settings& s, F&& visit) {
  const auto count = static_cast<float>(std::max<int64_t>(region.rows * region.columns, 1));
  for (int64_t py = 0; py < s.height; ++py)
    for (int64_t px = 0; px < s.width; ++px)
      for (int64_t iy = 0; iy < region.rows; ++iy)
        for (int64_t ix = 0; ix < region.columns; ++ix)
          visit(py * s.width + px, region.y[py * region.rows + iy], region.x[px * region.columns + ix], count);
}

// map [B,H,W,C] -> [K,h,w,C]
at::Tensor interleaved(const at::Tensor& map, const std::vector<Region>& regions, const Settings& s) {
  const int64_t height = map.size(1), width = map.size(2), channels = map.size(3), bins = s.height * s.width;
  at::Tensor out = at::zeros({static_cast<int64_t>(regions.size()), s.height, s.width, channels}, map.options());
  const float* source = map.const_data_ptr<float>();
  float* target = out.data_ptr<float>();
  at::parallel_for(0, regions.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const float* image = source + regions[k].image * height * width * channels;
      float* pooled = target + k * bins * channels;
      each_sample(regions[k], s, [&](int64_t bin, const Tap& y, const Tap& x, float) {
        const float* low = image + y.low * width * channels;
        const float* high = image + y.high * width * channels;
        add_four(pooled + bin * channels, low + x.low * channels, low + x.high * channels, high + x.low * channels,
                 high + x.high * channels, y.low_weight * x.low_weight, y.low_weight * x.high_weight,
                 y.high_weight * x.low_weight, y.high_weight * x.high_weight, channels);
      });
      const auto count = static_cast<float>(std::max<int64_t>(regions[k].rows * regions[k].columns, 1));
      scale_all(pooled, 1.0f / count, bins * channels);
    }
  });
  return out;
}

// map [B,C,H,W] -> [K,C,h,w]: where so little is sampled that turning the map round costs more.
at::Tensor planar(const at::Tensor& map, const std::vector<Region>& regions, const Settings& s) {
  const int64_t channels = map.size(1), height = map.size(2), width = map.size(3), bins = s.height * s.width;
  at::Tensor out = at::zeros({static_cast<int64_t>(regions.size()), channels, s.height, s.width}, map.options());
  const float* source = map.const_data_ptr<float>();
  float* target = out.data_ptr<float>();
  at::parallel_for(0, regions.size() * channels, channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Region& region = regions[i / channels];
      const float* plane = source + (region.image * channels + i % channels) * height * width;
      float* pooled = target + i * bins;
      each_sample(region, s, [&](int64_t bin, const Tap& y, const Tap& x, float count) {
        const float* low = plane + y.low * width;
        const float* high = plane + y.high * width;
        pooled[bin] += (y.low_weight * (x.low_weight * low[x.low] + x.high_weight * low[x.high]) +
                        y.high_weight * (x.low_weight * high[x.low] + x.high_weight * high[x.high])) /
                       count;
      });
    }
  });
  return out;
}

at::Tensor forward(const at::Tensor& map, const std::vector<Region>& regions, const Settings& s) {
  int64_t samples = 0;
  for (const Region& region : regions) samples += region.y.size() * region.x.size();
  const bool is_turned = map.is_contiguous(at::MemoryFormat::ChannelsLast) && !map.is_contiguous();
  // Turning reads and writes every value once; a sample reads four values and saves that much.
  if (!is_turned && samples * 4 < map.numel() / std::max<int64_t>(map.size(1), 1))
    return planar(map.contiguous(), regions, s);
  const at::Tensor turned = map.permute({0, 2, 3, 1}).contiguous();
  return interleaved(turned, regions, s).permute({0, 3, 1, 2});
}

// gradient [K,C,h,w] -> [B,C,H,W]. Each thread adds to its own channels, in the regions' order: the
// same sums whatever the number of threads.
at::Tensor backward(const at::Tensor& gradient, const std::vector<Region>& regions, const Settings& s,
                    at::IntArrayRef size) {
  const int64_t channels = size[1], height = size[2], width = size[3], bins = s.height * s.width;
  const at::Tensor pooled = gradient.permute({0, 2, 3, 1}).contiguous();
  at::Tensor out = at::zeros({size[0], height, width, channels}, gradient.options());
  const float* source = pooled.const_data_ptr<float>();
  float* target = out.data_ptr<float>();
  at::parallel_for(0, channels, 16, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    for (size_t k = 0; k < regions.size(); ++k) {
      float* image = target + regions[k].image * height * width * channels + begin;
      each_sample(regions[k], s, [&](int64_t bin, const Tap& y, const Tap& x, float count) {
        const float* from = source + (k * bins + bin) * channels + begin;
        const auto add = [&](int64_t row, int64_t column, float weight) {
          if (weight != 0.0f) add_scaled(image + (row * width + column) * channels, from, weight / count, n);
        };
        add(y.low, x.low, y.low_weight * x.low_weight);
        add(y.low, x.high, y.low_weight * x.high_weight);
        add(y.high, x.low, y.high_weight * x.low_weight);
        add(y.high, x.high, y.high_weight * x.high_weight);
      });
    }
  });
  return out.permute({0, 3, 1, 2});
}

struct RoiAlign : torch::autograd::Function<RoiAlign> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& map, const at::Tensor& rois,
                            const Settings& s) {
    context->save_for_backward({rois});
    context->saved_data["size"] = map.sizes().vec();
    context->saved_data["output"] = std::vector<int64_t>{s.height, s.width, s.ratio, s.aligned};
    context->saved_data["scale"] = s.scale;
    return ::forward(map, regions(rois, s, map.size(0), map.size(2), map.size(3)), s);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor rois = context->get_saved_variables()[0];
    const auto size = context->saved_data["size"].toIntVector();
    const auto output = context->saved_data["output"].toIntVector();
    const Settings s{output[0], output[1], context->saved_data["scale"].toDouble(), output[2], output[3] != 0};
    const auto where = regions(rois, s, size[0], size[2], size[3]);
    return {::backward(gradients[0], where, s, size), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

int re_roi_align(const void* map, const void* rois, int64_t height, int64_t width, double scale, int64_t ratio,
                 int aligned, void** out) {
  return status([&] {
    const at::Tensor& features = *static_cast<const at::Tensor*>(map);
    const at::Tensor boxes = static_cast<const at::Tensor*>(rois)->detach().contiguous();
    TORCH_CHECK(features.dim() == 4 && features.is_cpu() && features.scalar_type() == at::kFloat,
                "RoIAlign takes a map [B,C,H,W] of fp32 on the CPU");
    TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 5 && boxes.is_cpu() && boxes.scalar_type() == at::kFloat,
                "RoIAlign takes regions [K,5] of fp32 on the CPU");
    TORCH_CHECK(features.size(2) > 0 && features.size(3) > 0 && height > 0 && width > 0, "RoIAlign of nothing");
    const Settings s{height, width, scale, ratio, aligned != 0};
    *out = new at::Tensor(RoiAlign::apply(features, boxes, s));
  });
}
