// Greedy non-maximum suppression on the CPU, within classes.
#include "shim.h"
#include "status.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST_VECTORS __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define WIDEST_VECTORS
#endif

namespace {

// Boxes of one class, best first, a coordinate after the other.
struct Boxes {
  std::vector<int64_t> rank;
  std::vector<float> x0, y0, x1, y1, area;
};

// Marks what overlaps box i by more than the threshold, in i+1..n.
WIDEST_VECTORS void suppress(const Boxes& b, int64_t i, float threshold, int32_t* suppressed, int64_t n) {
  const float x0 = b.x0[i], y0 = b.y0[i], x1 = b.x1[i], y1 = b.y1[i], area = b.area[i];
  const float* bx0 = b.x0.data();
  const float* by0 = b.y0.data();
  const float* bx1 = b.x1.data();
  const float* by1 = b.y1.data();
  const float* areas = b.area.data();
  for (int64_t j = i + 1; j < n; ++j) {
    const float left = bx0[j] > x0 ? bx0[j] : x0, top = by0[j] > y0 ? by0[j] : y0;
    const float right = bx1[j] < x1 ? bx1[j] : x1, bottom = by1[j] < y1 ? by1[j] : y1;
    const float w = right - left > 0.0f ? right - left : 0.0f;
    const float h = bottom - top > 0.0f ? bottom - top : 0.0f;
    const float both = w * h;
    suppressed[j] |= both / ((area + areas[j]) - both) > threshold;
  }
}

void keep(const Boxes& boxes, float threshold, std::vector<int64_t>& kept) {
  const auto n = static_cast<int64_t>(boxes.rank.size());
  std::vector<int32_t> suppressed(n, 0);
  for (int64_t i = 0; i < n; ++i) {
    if (suppressed[i]) continue;
    kept.push_back(boxes.rank[i]);
    suppress(boxes, i, threshold, suppressed.data(), n);
  }
}

at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor* labels, double threshold) {
  const int64_t n = boxes.size(0);
  const auto box = boxes.accessor<float, 2>();
  const float* score = scores.const_data_ptr<float>();
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return score[a] > score[b]; });
  std::map<int64_t, Boxes> classes;
  for (int64_t rank = 0; rank < n; ++rank) {
    const int64_t i = order[rank];
    Boxes& own = classes[labels ? labels->const_data_ptr<int64_t>()[i] : 0];
    own.rank.push_back(rank);
    own.x0.push_back(box[i][0]);
    own.y0.push_back(box[i][1]);
    own.x1.push_back(box[i][2]);
    own.y1.push_back(box[i][3]);
    own.area.push_back((box[i][2] - box[i][0]) * (box[i][3] - box[i][1]));
  }
  std::vector<const Boxes*> each;
  for (const auto& [label, own] : classes) each.push_back(&own);
  std::vector<std::vector<int64_t>> kept(each.size());
  // The largest float not above the threshold: a float is above one where it is above the other.
  auto limit = static_cast<float>(threshold);
  if (static_cast<double>(limit) > threshold) limit = std::nextafterf(limit, -INFINITY);
  at::parallel_for(0, each.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) keep(*each[c], limit, kept[c]);
  });
  std::vector<int64_t> all;
  for (const auto& ranks : kept) all.insert(all.end(), ranks.begin(), ranks.end());
  std::sort(all.begin(), all.end());
  at::Tensor out = at::empty({static_cast<int64_t>(all.size())}, at::kLong);
  std::transform(all.begin(), all.end(), out.data_ptr<int64_t>(), [&](int64_t rank) { return order[rank]; });
  return out;
}

}  // namespace

int re_nms(const void* boxes, const void* scores, const void* labels, double threshold, void** keep) {
  return status([&] {
    const at::Tensor b = static_cast<const at::Tensor*>(boxes)->contiguous();
    const at::Tensor s = static_cast<const at::Tensor*>(scores)->contiguous();
    TORCH_CHECK(b.is_cpu() && b.scalar_type() == at::kFloat && b.dim() == 2 && b.size(1) == 4,
                "NMS takes boxes [N,4] of fp32 on the CPU");
    TORCH_CHECK(s.is_cpu() && s.scalar_type() == at::kFloat && s.dim() == 1 && s.size(0) == b.size(0),
                "NMS takes a score [N] of fp32 for each box");
    if (!labels) {
      *keep = new at::Tensor(nms(b, s, nullptr, threshold));
      return;
    }
    const at::Tensor l = static_cast<const at::Tensor*>(labels)->contiguous();
    TORCH_CHECK(l.is_cpu() && l.scalar_type() == at::kLong && l.dim() == 1 && l.size(0) == b.size(0),
                "NMS takes a label [N] of int64 for each box");
    *keep = new at::Tensor(nms(b, s, &l, threshold));
  });
}
