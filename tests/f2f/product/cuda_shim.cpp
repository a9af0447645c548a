// Runs the kernel KERNEL of the file SOURCE on the CPU.
//
// Compiled by tests/f2f/product/test_gpu.py with the same -D options that NVRTC gets.
#include "cuda_shim.h"
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <utility>
#include <vector>

dim threadIdx, blockIdx, blockDim, gridDim;
uint4 shared[shim::SHARED];

namespace shim {
static constexpr size_t STACK = 1 << 16;

struct Barrier {
  uint32_t waiting = 0, generation = 0;
};
struct Warp : Barrier {
  Lanes slots[2];
};

static std::vector<ucontext_t> fibres;
static std::vector<char> alive;
static std::vector<Warp> warps;
static Barrier everybody;
static ucontext_t scheduler;
static uint32_t current, progress;

void fail(const char *message) {
  std::fprintf(stderr, "%s\n", message);
  std::abort();
}

static void pause() {
  const uint32_t self = current;
  swapcontext(&fibres[self], &scheduler);
  threadIdx.x = current = self;
}

static void arrive(Barrier &barrier, uint32_t members) {
  const uint32_t generation = barrier.generation;
  if (++barrier.waiting == members) {
    barrier.waiting = 0;
    ++barrier.generation;
    ++progress;
  }
  while (barrier.generation == generation) pause();
}

void block_barrier() { arrive(everybody, blockDim.x); }

const Lanes &exchange(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  Warp &warp = warps[threadIdx.x / 32];
  // A lane can be at most one exchange ahead of another, so two sets of slots suffice.
  Lanes &slots = warp.slots[warp.generation & 1];
  const uint32_t words[4] = {a, b, c, d};
  std::memcpy(slots.word[lane()], words, sizeof words);
  arrive(warp, 32);
  return slots;
}

template <class Body> static void entry(uint32_t low, uint32_t high) {
  (*(Body *)((uintptr_t)high << 32 | low))();
  alive[current] = 0;
  ++progress;
  swapcontext(&fibres[current], &scheduler);
}

// Returns 0, or 1 if some threads wait for others that have ended or wait elsewhere.
template <class Body> static int launch(uint32_t grid, uint32_t block, bool reverse, Body body) {
  std::vector<char> stacks(block * STACK);
  gridDim = {grid, 1, 1};
  blockDim = {block, 1, 1};
  for (uint32_t b = 0; b < grid; ++b) {
    blockIdx = {reverse ? grid - 1 - b : b, 0, 0};
    std::memset(shared, 0xa5, sizeof shared);
    fibres.assign(block, {});
    alive.assign(block, 1);
    warps.assign(block / 32, {});
    everybody = {};
    const uintptr_t address = (uintptr_t)&body;
    for (uint32_t t = 0; t < block; ++t) {
      getcontext(&fibres[t]);
      fibres[t].uc_stack.ss_sp = stacks.data() + t * STACK;
      fibres[t].uc_stack.ss_size = STACK;
      fibres[t].uc_link = &scheduler;
      makecontext(&fibres[t], (void (*)())entry<Body>, 2, (uint32_t)address,
                  (uint32_t)(address >> 32));
    }
    for (uint32_t left = block; left;) {
      left = 0;
      const uint32_t before = progress;
      for (uint32_t i = 0; i < block; ++i) {
        const uint32_t t = reverse ? block - 1 - i : i;
        if (!alive[t]) continue;
        threadIdx.x = current = t;
        swapcontext(&scheduler, &fibres[t]);
        left += alive[t];
      }
      if (left && progress == before) return 1;
    }
  }
  return 0;
}

template <class... Args, size_t... I>
static int call(void (*kernel)(Args...), uint32_t grid, uint32_t block, bool reverse, void **args,
                std::index_sequence<I...>) {
  return launch(grid, block, reverse, [=] { kernel(*(Args *)args[I]...); });
}

// Arguments as cuLaunchKernel takes them: an array of pointers to their values.
template <class... Args>
int run(void (*kernel)(Args...), uint32_t grid, uint32_t block, bool reverse, void **args) {
  return call(kernel, grid, block, reverse, args, std::index_sequence_for<Args...>{});
}
}  // namespace shim

#include SOURCE

extern "C" int run_kernel(uint32_t grid, uint32_t block, int reverse, void **args) {
  return shim::run(KERNEL, grid, block, reverse, args);
}
