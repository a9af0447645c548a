// CUDA C on the CPU, for tests only: enough of the device language to run the kernels of f2f.
//
// Every thread of a block is a fibre (ucontext); fibres switch only where CUDA threads wait for
// each other: __syncthreads, __syncwarp and the warp collectives. Warps run in the order or the
// reverse order of their numbers, blocks one after another, so atomics are plain additions. A
// collective that not all 32 lanes reach, or a barrier that not all threads reach, is reported, not
// waited for.
#pragma once
#include <cstdint>
#include <cstring>

#define F2F_SHIM 1
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __shared__
#define __launch_bounds__(...)

struct uint2 { uint32_t x, y; };
struct uint4 { uint32_t x, y, z, w; };
struct dim { uint32_t x, y, z; };
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }

extern dim threadIdx, blockIdx, blockDim, gridDim;
extern uint4 shared[];  // the dynamic shared memory of the one block that runs

namespace shim {
// All 32 lanes publish four words and get everybody's.
struct Lanes { uint32_t word[32][4]; };
const Lanes &exchange(uint32_t a, uint32_t b = 0, uint32_t c = 0, uint32_t d = 0);
void block_barrier();
[[noreturn]] void fail(const char *message);
constexpr uint32_t SHARED = 1 << 14;  // uint4s of shared memory
inline uint32_t lane() { return threadIdx.x & 31; }
inline uint32_t bits(float value) { uint32_t w; std::memcpy(&w, &value, 4); return w; }
inline float value(uint32_t w) { float f; std::memcpy(&f, &w, 4); return f; }
}  // namespace shim

inline void __syncthreads() { shim::block_barrier(); }
inline void __syncwarp() { shim::exchange(0); }
template <class T> T __ldg(const T *address) { return *address; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t n) {
  return (uint32_t)(((uint64_t)high << 32 | low) >> (n & 31));
}
inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, uint32_t n) {
  return (uint32_t)((((uint64_t)high << 32 | low) << (n & 31)) >> 32);
}
inline float __uint_as_float(uint32_t w) { return shim::value(w); }

inline uint32_t __ballot_sync(uint32_t, bool predicate) {
  const shim::Lanes &all = shim::exchange(predicate);
  uint32_t ballot = 0;
  for (int i = 0; i < 32; ++i) ballot |= all.word[i][0] << i;
  return ballot;
}
inline uint32_t __shfl_sync(uint32_t, uint32_t word, int source, int width = 32) {
  const uint32_t base = shim::lane() & ~(uint32_t)(width - 1);
  return shim::exchange(word).word[base + (source & (width - 1))][0];
}
inline uint32_t __shfl_up_sync(uint32_t, uint32_t word, uint32_t delta) {
  const shim::Lanes &all = shim::exchange(word);
  return shim::lane() < delta ? word : all.word[shim::lane() - delta][0];
}
inline uint32_t __shfl_xor_sync(uint32_t, uint32_t word, uint32_t mask) {
  return shim::exchange(word).word[shim::lane() ^ mask][0];
}
inline float __shfl_xor_sync(uint32_t all, float word, uint32_t mask) {
  return shim::value(__shfl_xor_sync(all, shim::bits(word), mask));
}
inline int __shfl_xor_sync(uint32_t all, int word, uint32_t mask) {
  return (int)__shfl_xor_sync(all, (uint32_t)word, mask);
}
inline long long __shfl_xor_sync(uint32_t, long long word, uint32_t mask) {
  const shim::Lanes &all = shim::exchange((uint32_t)word, (uint32_t)(word >> 32));
  const uint32_t *of = all.word[shim::lane() ^ mask];
  return (long long)((uint64_t)of[1] << 32 | of[0]);
}

template <class T> T atomicAdd(T *sum, T term) {
  T old = *sum;
  *sum = old + term;
  return old;
}
inline int atomicAdd(int *sum, int term) {
  int old = *sum;
  *sum = (int)((uint32_t)old + (uint32_t)term);
  return old;
}

// mma.m16n8k128 on bits, by the fragment layout of the PTX manual: lane 4g + c holds bits
// 32c..32c+31 of rows g and g + 8 of A and of column g of B, and counts (g, 2c), (g, 2c + 1),
// (g + 8, 2c), (g + 8, 2c + 1) of D.
inline void bmma(uint32_t d[4], uint32_t a_low, uint32_t a_high, uint32_t b) {
  const shim::Lanes &all = shim::exchange(a_low, a_high, b);
  const uint32_t g = shim::lane() >> 2, c = shim::lane() & 3;
  for (int i = 0; i < 4; ++i) {
    const uint32_t n = 2 * c + (i & 1);
    d[i] = 0;
    for (int k = 0; k < 4; ++k)
      d[i] += __popc(all.word[4 * g + k][i >> 1] & all.word[4 * n + k][2]);
  }
}

// mma.m16n8k32 on signed bytes, by the same manual: lane 4g + c holds bytes 4c..4c+3 and 16 + 4c..
// 16 + 4c + 3 of row g of A (rows 8..15 are zero) and of column g of B; gets (g, 2c) of D.
inline uint32_t imma(uint32_t a_low, uint32_t a_high, uint32_t b_low, uint32_t b_high) {
  const shim::Lanes &all = shim::exchange(a_low, a_high, b_low, b_high);
  const uint32_t g = shim::lane() >> 2, n = 2 * (shim::lane() & 3);
  int32_t d = 0;
  for (int k = 0; k < 32; ++k) {
    const uint32_t *a = all.word[4 * g + k % 16 / 4], *b = all.word[4 * n + k % 16 / 4];
    const int shift = 8 * (k % 4);
    d += (int8_t)(a[k / 16] >> shift) * (int8_t)(b[2 + k / 16] >> shift);
  }
  return (uint32_t)d;
}
inline uint32_t lane_number() { return shim::lane(); }
inline uint32_t lanes_up_to_this() { return 0xffffffffu >> (31 - shim::lane()); }

// ldmatrix.x4 by the same manual: lane 8s + g names row g of matrix s, lane 4g + c gets word c of
// row g of each matrix.
inline uint32_t __cvta_generic_to_shared(const void *address) {
  return (uint32_t)((const char *)address - (const char *)shared);
}
inline void load_rows(uint32_t a[4], uint32_t row) {
  const shim::Lanes &all = shim::exchange(row);
  for (int s = 0; s < 4; ++s) {
    const uint32_t from = all.word[8 * s + (shim::lane() >> 2)][0];
    if (from % 16 || from >= 16 * shim::SHARED) shim::fail("ldmatrix: bad shared address");
    a[s] = ((const uint32_t *)shared)[from / 4 + (shim::lane() & 3)];
  }
}

inline float half_to_float(uint32_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, part = half & 1023;
  if (exponent == 31) return shim::value(sign | 0x7f800000u | part << 13);
  const float size = exponent ? shim::value((exponent + 112) << 23 | part << 13)
                              : (float)part * 0x1p-24f;
  return shim::value(sign | shim::bits(size));
}
