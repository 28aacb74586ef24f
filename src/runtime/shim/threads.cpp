// libtorch's own threads, for work that alternates between its operators and ours.
#include "shim.h"
#include "status.h"

#include <ATen/Parallel.h>

#if defined(__linux__) && !defined(_OPENMP)
#error "libtorch's threads are OpenMP's; without -fopenmp this would run on one of them"
#endif

int re_on_every_thread(void (*work)(void* user), void* user) {
  return status([&] {
    at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) work(user);
    });
  });
}
