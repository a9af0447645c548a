// Other sparse formats on a GPU, to compare with: one warp a row, both as published, kept simple.
//
// delta_csr: the column steps of a row in 4 bits each (1..16; a longer gap is bridged by entries of
// value 0) beside the values; a lane takes 8 entries, a warp 256. Bytes: (0.5 + value) an entry.
// bitmap: one bit a weight and the unpruned values packed; a lane takes a 32-bit word of the
// bitmap. Bytes: 1/8 a weight and the values.
// Both gather x through the caches. Packed by `f2f_study.experiments.products_gpu`.
//
// Defines: VALUE 0 int8, 3 float16, 5 float32. COLUMNS of x (row-major, COLUMNS a row). THREADS.

typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define ALL 0xffffffffu

#if VALUE == 0
typedef s8 value_t;
#elif VALUE == 3
typedef u16 value_t;
#else
typedef float value_t;
#endif

#ifndef F2F_SHIM
static __device__ __forceinline__ float half_to_float(u32 bits) {
  float value;
  asm("{ .reg .b16 h; mov.b32 {h, _}, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(bits));
  return value;
}
#endif

static __device__ __forceinline__ float number(value_t value) {
#if VALUE == 3
  return half_to_float(value);
#else
  return (float)value;
#endif
}

// Sum over the lanes up to and including this one; whole: over all lanes.
static __device__ __forceinline__ u32 scan(u32 value, u32 lane, u32 *whole) {
#pragma unroll
  for (u32 reach = 1; reach < 32; reach *= 2) {
    const u32 before = __shfl_up_sync(ALL, value, reach);
    if (lane >= reach) value += before;
  }
  *whole = __shfl_sync(ALL, value, 31);
  return value;
}

static __device__ __forceinline__ void store(float sum[COLUMNS], float *y, u32 row, u32 lane,
                                             const float *scale) {
#pragma unroll
  for (int c = 0; c < COLUMNS; ++c) {
#pragma unroll
    for (u32 mask = 16; mask; mask /= 2) sum[c] += __shfl_xor_sync(ALL, sum[c], mask);
    if (lane == 0) y[(u64)row * COLUMNS + c] = sum[c] * scale[row];
  }
}

// starts: (rows + 1,) in units of 8 entries. steps: 8 entries a word. values: 8 entries aligned.
extern "C" __global__ void __launch_bounds__(THREADS)
delta_csr(const u32 *__restrict__ starts, const u32 *__restrict__ steps,
          const value_t *__restrict__ values, u32 n_rows, const float *__restrict__ x,
          float *__restrict__ y, const float *__restrict__ scale) {
  const u32 row = (blockIdx.x * THREADS + threadIdx.x) / 32, lane = threadIdx.x & 31;
  if (row >= n_rows) return;
  const u32 end = starts[row + 1];
  float sum[COLUMNS] = {};
  u32 column = ALL;  // of the last entry so far: one before the row
  for (u32 first = starts[row]; first < end; first += 32) {
    const u32 at = first + lane;
    const bool inside = at < end;
    const u32 word = inside ? __ldg(steps + at) : 0;
    struct alignas(sizeof(value_t) * 8 < 16 ? 8 : 16) Eight { value_t value[8]; } eight = {};
    if (inside) eight = ((const Eight *)values)[at];
    // Sum of eight nibbles, each one less than its step.
    const u32 pairs = (word & 0x0f0f0f0fu) + (word >> 4 & 0x0f0f0f0fu);
    const u32 own = inside ? (pairs * 0x01010101u >> 24) + 8 : 0;
    u32 whole;
    u32 j = column + scan(own, lane, &whole) - own;
    column += whole;
    if (inside) {
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        j += (word >> (4 * e) & 15) + 1;
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c)
          sum[c] += number(eight.value[e]) * __ldg(x + (u64)j * COLUMNS + c);
      }
    }
  }
  store(sum, y, row, lane, scale);
}

// starts: (rows,) first value of each row. bitmap: words_per_row words a row, bit b = column 32w +
// b.
extern "C" __global__ void __launch_bounds__(THREADS)
bitmap(const u32 *__restrict__ starts, const u32 *__restrict__ words, u32 words_per_row,
       const value_t *__restrict__ values, u32 n_rows, const float *__restrict__ x,
       float *__restrict__ y, const float *__restrict__ scale) {
  const u32 row = (blockIdx.x * THREADS + threadIdx.x) / 32, lane = threadIdx.x & 31;
  if (row >= n_rows) return;
  float sum[COLUMNS] = {};
  u32 start = starts[row];
  for (u32 first = 0; first < words_per_row; first += 32) {
    const u32 at = first + lane;
    u32 word = at < words_per_row ? __ldg(words + (u64)row * words_per_row + at) : 0, whole;
    const u32 own = __popc(word);
    u32 v = start + scan(own, lane, &whole) - own;
    start += whole;
    for (; word; word &= word - 1, ++v) {
      const u32 j = 32 * at + __ffs(word) - 1;
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c)
        sum[c] += number(__ldg(values + v)) * __ldg(x + (u64)j * COLUMNS + c);
    }
  }
  store(sum, y, row, lane, scale);
}
