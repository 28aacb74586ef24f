// Counts executed operators: calls, self time and floating-point operations.
#include "shim.h"
#include "status.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <string>

namespace {

using Clock = std::chrono::steady_clock;

struct Row {
  int64_t calls = 0;
  double self_seconds = 0;
  double flops = 0;
};

struct Span : at::ObserverContext {
  Clock::time_point start = Clock::now();
  double children = 0;
  double flops = 0;
  Span* parent = nullptr;
};

thread_local std::map<std::string, Row> rows;
thread_local Span* open_span = nullptr;
thread_local at::CallbackHandle handle = 0;
thread_local bool observing = false;

double product(c10::IntArrayRef sizes) {
  double n = 1;
  for (int64_t s : sizes) n *= static_cast<double>(s);
  return n;
}

bool tensor(const c10::IValue& v, at::Tensor& out) {
  if (!v.isTensor()) return false;
  out = v.toTensor();
  return out.defined();
}

// A list of sizes in any of the forms in which operators get one: eager calls pass integers,
// TorchScript's interpreter symbolic integers or a plain list.
std::vector<int64_t> ints(const c10::IValue& v) {
  std::vector<int64_t> out;
  if (v.isIntList()) return v.toIntVector();
  if (v.isInt()) return {v.toInt()};
  if (!v.isList()) return out;
  for (const c10::IValue& element : v.toListRef()) {
    if (element.isInt()) out.push_back(element.toInt());
    else if (element.isSymInt()) out.push_back(element.toSymInt().guard_int(__FILE__, __LINE__));
  }
  return out;
}

// 2·m·k·n for a [.., m, k] x [.., k, n] product.
double matmul_flops(const c10::IValue& a, const c10::IValue& b) {
  at::Tensor x, y;
  if (!tensor(a, x) || !tensor(b, y) || x.dim() < 2 || y.dim() < 2) return 0;
  return 2 * product(x.sizes()) * static_cast<double>(y.size(-1));
}

// The rules of torch.utils.flop_counter: multiply and add counted separately; innermost operators
// only, so that nothing is counted twice (aten::linear is counted as the aten::addmm it calls).
double flops_of(const std::string& name, c10::ArrayRef<const c10::IValue> in) {
  if (name == "aten::mm" || name == "aten::bmm") return in.size() < 2 ? 0 : matmul_flops(in[0], in[1]);
  if (name == "aten::addmm" || name == "aten::baddbmm" || name == "aten::_addmm_activation")
    return in.size() < 3 ? 0 : matmul_flops(in[1], in[2]);
  // Eager code arrives here through aten::convolution, TorchScript programs directly.
  if (name == "aten::_convolution") {
    at::Tensor x, w;
    if (in.size() < 9 || !tensor(in[0], x) || !tensor(in[1], w)) return 0;
    const auto stride = in[3].toIntVector(), pad = in[4].toIntVector(), dilation = in[5].toIntVector();
    if (stride.empty() || pad.empty() || dilation.empty()) return 0;
    const bool transposed = in[6].toBool();
    double positions = static_cast<double>(x.size(0));
    for (int64_t d = 2; d < x.dim(); ++d) {
      const auto at = [&](const std::vector<int64_t>& v) { return v.size() == 1 ? v[0] : v[d - 2]; };
      const int64_t out = (x.size(d) + 2 * at(pad) - at(dilation) * (w.size(d) - 1) - 1) / at(stride) + 1;
      positions *= static_cast<double>(transposed ? x.size(d) : out);
    }
    return 2 * positions * product(w.sizes());
  }
  // oneDNN on packed weights, whose sizes are those of the plain ones.
  if (name == "mkldnn::_linear_pointwise") {
    at::Tensor x, w;
    if (in.size() < 2 || !tensor(in[0], x) || !tensor(in[1], w)) return 0;
    return 2 * product(x.sizes()) * static_cast<double>(w.size(0));
  }
  if (name == "mkldnn::_convolution_pointwise") {
    at::Tensor x, w;
    if (in.size() < 6 || !tensor(in[0], x) || !tensor(in[1], w)) return 0;
    const auto pad = ints(in[3]), stride = ints(in[4]);
    if (pad.size() < 2 || stride.size() < 2) return 0;
    double positions = static_cast<double>(x.size(0));
    for (int64_t d = 2; d < 4; ++d)
      positions *= static_cast<double>((x.size(d) + 2 * pad[d - 2] - w.size(d)) / stride[d - 2] + 1);
    return 2 * positions * product(w.sizes());
  }
  // Every fused attention starts with query [B,H,L,D], key [B,H,S,D], value [B,H,S,E].
  if (name.rfind("aten::_scaled_dot_product_", 0) == 0 && name != "aten::_scaled_dot_product_attention_math") {
    at::Tensor q, k, v;
    if (in.size() < 3 || !tensor(in[0], q) || !tensor(in[1], k) || !tensor(in[2], v)) return 0;
    const double scores = product(q.sizes()) * static_cast<double>(k.size(-2));
    return 2 * scores + 2 * scores / static_cast<double>(q.size(-1)) * static_cast<double>(v.size(-1));
  }
  return 0;
}

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& fn) {
  auto span = std::make_unique<Span>();
  span->parent = open_span;
  span->flops = flops_of(fn.name(), fn.inputs());
  open_span = span.get();
  span->start = Clock::now();
  return span;
}

void leave(const at::RecordFunction& fn, at::ObserverContext* context) {
  auto* span = static_cast<Span*>(context);
  const double seconds = std::chrono::duration<double>(Clock::now() - span->start).count();
  open_span = span->parent;
  if (open_span) open_span->children += seconds;
  Row& row = rows[fn.name()];
  row.calls += 1;
  row.self_seconds += seconds - span->children;
  row.flops += span->flops;
}

}  // namespace

int re_observe_start() {
  return status([] {
    TORCH_CHECK(!observing, "operators of this thread are observed already");
    rows.clear();
    open_span = nullptr;
    handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&enter, &leave).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
    observing = true;
  });
}

int re_observe_stop(re_row row, void* user) {
  return status([&] {
    TORCH_CHECK(observing, "operators of this thread are not observed");
    at::removeCallback(handle);
    observing = false;
    for (const auto& [name, r] : rows) row(user, name.c_str(), r.calls, r.self_seconds, r.flops);
    rows.clear();
  });
}
