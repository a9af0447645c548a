// y = W x straight from fixed-to-fixed code (Algorithm 2 for a GPU); one kernel, for SpMV and SpMM.
//
// Only unpruned weights are decoded. `f2f.product.gpu_layout` lists them once per tensor as
// *steps*: one byte each, the low byte of the weight's distance from the first weight of its group.
// A group is 32 weights, one for each lane of a warp. A weight more than 255 positions behind the
// one before, or one whose window leaves the group's 16 input vectors, starts a new group.
// Corrected weights are not in the list; they are the *exceptions*, (index, word) pairs, multiplied
// at the end.
//
// Decoding 32 weights of P = 8*BYTES planes is a GF(2) product: 32 rows of the decoder matrix by
// the windows of their blocks. All windows of a group lie in the same 16 input vectors = 128 bits,
// so row r shifted by 8 * (block - first block) bits meets the *same* 128 x 8 operand for every
// weight: two binary tensor-core products m16n8k128 (AND, count) a group and stored byte; the low
// bit of each count is the decoded bit. The shifted rows are kept in shared memory, 16 bytes for each
// row and block, from where one ldmatrix gathers the 32 that are wanted; an 8-bit integer product
// with powers of two turns the bits into bytes, each in the lane of its weight. DECODE_BMMA = 0
// does the same with AND and POPC per thread, for decoders whose shifted rows do not fit in shared
// memory.
//
// Bytes read (k unpruned weights, n_out weights a block, g >= k/32 groups):
//   payload 8 BYTES n/n_out (BYTES k at the ideal rate), steps 32 g, heads 8 g, flips 4 FLIPS g,
//   exceptions 8 each, x and y once.                      `DeviceLayout.bytes_moved` counts them.
// With one stored byte that is 2.25 bytes an unpruned weight and the exceptions, against 5 of
// CSR with 32-bit indices and INT8 values and 2/(1-S) of dense FP16.
//
// Operations a weight, if decoded one by one: per plane 2 AND (with XOR), POPC, 2 to insert the
// bit, 2 to align the window: some 56 for 8 planes. With tensor cores a warp issues, for 32 weights
// and everything (compiled for sm_90, float sums): 73 instructions for 8 planes, 93 / 107 / 126 for
// 16 / 24 / 32, and 8 more in diagonal order. So it is the issue of instructions, not the memory,
// that bounds this kernel: 73/32 = 2.3 a weight.
//
// Defines: DTYPE 0 int8, 1 uint8, 2 int16, 3 float16, 4 bfloat16, 5 float32. ACC 0 float, 1 int, 2
// long long, 3 double. ORDER 0 golden, 1 row, 2 column, 3 diagonal, as in `f2f.format.places`.
// BYTES 1..4 stored bytes of a word, each of them a group of 8 planes in `f2f.format`.
// FLIPS planes stored one bit a weight beside the steps. LUT 1: stored bytes go through tables.
// COLUMNS of x per launch. IN_SHARED 1: x and y live in shared memory. SCALED 1: y times a scale
// per row. N_S, NARROW (see Walk), DECODE_BMMA, THREADS (multiple of 32), UNROLL groups in flight
// per warp.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define ALL 0xffffffffu
#define BLOCKS (16 - N_S)  // blocks whose windows lie in 16 input vectors

#if ACC == 0
typedef float sum_t;  // of x, too
#elif ACC == 1
typedef int sum_t;
#elif ACC == 2
typedef long long sum_t;
#else
typedef double sum_t;
#endif
#if SCALED && ACC != 3
typedef float y_t;
#else
typedef sum_t y_t;
#endif

#ifndef F2F_SHIM
// D (16 x 8) = popcount over k of A (16 x 128, row) AND B (128 x 8, column).
static __device__ __forceinline__ void bmma(u32 d[4], u32 a_low, u32 a_high, u32 b) {
  asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %7, %7, %7};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a_low), "r"(a_high), "r"(b), "r"(0));
}
// D (16 x 8) = A (16 x 32, row) B (32 x 8, column) in 8-bit integers; rows 8..15 of A are zero and
// the result is column 2c of row g, in lane 4g + c.
static __device__ __forceinline__ u32 imma(u32 a_low, u32 a_high, u32 b_low, u32 b_high) {
  u32 d, unused[3];
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %8, %5, %8}, {%6, %7}, {%8, %8, %8, %8};"
      : "=r"(d), "=r"(unused[0]), "=r"(unused[1]), "=r"(unused[2])
      : "r"(a_low), "r"(a_high), "r"(b_low), "r"(b_high), "r"(0));
  return d;
}
// Volatile, so that the compiler keeps the value and does not compute it anew at every use.
static __device__ __forceinline__ u32 lane_number() {
  u32 lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
static __device__ __forceinline__ u32 lanes_up_to_this() {
  u32 mask;
  asm volatile("mov.u32 %0, %%lanemask_le;" : "=r"(mask));
  return mask;
}
// Four 8 x 128 bit matrices from shared memory: lane 8s + g names row g of matrix s, and lane 4g +
// c gets word c of row g of each.
static __device__ __forceinline__ void load_rows(u32 a[4], u32 row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(row));
}
static __device__ __forceinline__ float half_to_float(u32 bits) {
  float value;
  asm("{ .reg .b16 h; mov.b32 {h, _}, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(bits));
  return value;
}
#endif

static __device__ __forceinline__ sum_t weight_value(u32 word) {
#if DTYPE == 0
  return (sum_t)(int)(signed char)word;
#elif DTYPE == 1
  return (sum_t)(int)(word & 0xff);
#elif DTYPE == 2
  return (sum_t)(int)(short)word;
#elif DTYPE == 3
  return half_to_float(word & 0xffff);
#elif DTYPE == 4
  return __uint_as_float(word << 16);
#else
  return __uint_as_float(word);
#endif
}

static __device__ __forceinline__ void add(float *sum, float term) { atomicAdd(sum, term); }
static __device__ __forceinline__ void add(double *sum, double term) { atomicAdd(sum, term); }
static __device__ __forceinline__ void add(int *sum, int term) { atomicAdd(sum, term); }
static __device__ __forceinline__ void add(long long *sum, long long term) {
  atomicAdd((u64 *)sum, (u64)term);
}

// Where an encoding position lies. In diagonal order i and j number the *permuted* rows and
// columns (row = g_row * i mod rows, column = g_col * j mod columns), so that neighbours stay
// neighbours.
// Fractions are 2^64 * a / b rounded down, a < b < 2^31: `scaled` multiplies by an integer modulo
// 1, and its error, below 2^32, is made up for by adding 2^33, which is still less than 2^64 / b.
struct Walk {
  u64 fraction;         // of the matrix that one position steps over: stride / n
  u64 column_fraction;  // diagonal: 1 / n_cols
  u64 turn_fraction;    // diagonal: columns from one diagonal's start to the next's / n_cols
  u32 n_rows, n_cols, g_row, g_col;
};

static __device__ __forceinline__ u32 scaled(u32 k, u64 fraction, u64 more) {
  return (u32)((k * fraction + more) >> 32);
}

static __device__ __forceinline__ void locate(const Walk &walk, u32 k, u32 *i, u32 *j) {
  // The position as a share of the matrix times the outer length: whole part and what is left.
  const u32 share = scaled(k, walk.fraction, 1ull << 33);
#if ORDER <= 1
  const u64 parts = (u64)share * walk.n_rows;
  *i = (u32)(parts >> 32);
  *j = __umulhi((u32)parts, walk.n_cols);
#else
  const u64 parts = (u64)share * walk.n_cols;
  *i = __umulhi((u32)parts, walk.n_rows);
  *j = (u32)(parts >> 32);
#endif
#if ORDER == 3 && NARROW
  *j = __umulhi(*i * (u32)walk.column_fraction + *j * (u32)walk.turn_fraction + walk.n_rows +
                    walk.n_cols,
                walk.n_cols);
#elif ORDER == 3
  *j = __umulhi(scaled(*j, walk.turn_fraction, *i * walk.column_fraction + (1ull << 33)),
                walk.n_cols);
#endif
}

static __device__ __forceinline__ u32 row_of(const Walk &walk, u32 i) {
  return ORDER == 3 ? (u32)((u64)walk.g_row * i % walk.n_rows) : i;
}
static __device__ __forceinline__ u32 column_of(const Walk &walk, u32 j) {
  return ORDER == 3 ? (u32)((u64)walk.g_col * j % walk.n_cols) : j;
}

struct Group {
  uint2 head;  // x: first block / 4; y: distance of the first weight from that block, count << 24
  u32 step;
};

static __device__ __forceinline__ Group fetch(const uint2 *heads, const u8 *steps) {
  return {__ldg(heads), __ldg(steps)};
}

// One weight times x: into y' in shared memory, or into y.
static __device__ __forceinline__ void accumulate(const Walk &walk, u32 i, u32 j, sum_t weight,
                                                  const sum_t *x, u32 x_pitch,
                                                  const sum_t *x_shared, y_t *y, u32 y_pitch,
                                                  sum_t *y_shared, const y_t *scale) {
#if IN_SHARED
#pragma unroll
  for (int c = 0; c < COLUMNS; ++c)
    add(y_shared + (u64)i * COLUMNS + c, weight * x_shared[(u64)j * COLUMNS + c]);
#else
  u32 row = row_of(walk, i), column = column_of(walk, j);
#pragma unroll
  for (int c = 0; c < COLUMNS; ++c) {
    sum_t term = weight * __ldg(x + (u64)column * x_pitch + c);
#if SCALED
    add(y + (u64)row * y_pitch + c, (y_t)term * scale[row]);
#else
    add(y + (u64)row * y_pitch + c, term);
#endif
  }
#endif
}

#if DECODE_BMMA
// What turns the bits of planes 2c and 2c + 1, bytes of four weights, into stored bytes: the
// operand B of `imma`. Column 2s picks weight s and multiplies its planes by their powers of two.
struct Powers {
  u32 low, high;
};

static __device__ __forceinline__ Powers plane_powers(u32 lane) {
  const u32 column = lane >> 2, pair = 0x0201u << (2 * (lane & 3));  // modulo 256, 128 = -128
  return {column == 0 ? pair : column == 2 ? pair << 16 : 0,
          column == 4 ? pair : column == 6 ? pair << 16 : 0};
}

// The stored word of this lane's weight, lane 4g + s: row g (s even) or g + 8 (s odd) of product
// s / 2. row: shared address of its matrix row, shifted to its block.
static __device__ __forceinline__ u32 decode(u32 row, const u32 b[BYTES], u32 lane,
                                             Powers powers) {
  u32 a[4];
  load_rows(a, __shfl_sync(ALL, row, 4 * lane + (lane >> 3), 32));
  u32 word = 0;
#pragma unroll
  for (int n = 0; n < BYTES; ++n) {
    u32 d[8];
    bmma(d, a[0], a[1], b[n]);
    bmma(d + 4, a[2], a[3], b[n]);
    // Counts are at most 64, so four fit in a word: planes 2c and 2c + 1 of two weights.
    const u32 low = d[0] + (d[1] << 8) + (d[2] << 16) + (d[3] << 24);
    const u32 high = d[4] + (d[5] << 8) + (d[6] << 16) + (d[7] << 24);
    const u32 byte = imma(low & 0x01010101u, high & 0x01010101u, powers.low, powers.high);
    word |= (byte & 0xff) << (8 * n);
  }
  return word;
}
#else
// The stored word of one weight: row of the decoder matrix, window of block t.
static __device__ __forceinline__ u32 decode(const u32 *payload, u32 t, u64 row) {
  const u32 low = (u32)row, high = (u32)(row >> 32), shift = 8 * (t & 3);
  u32 word = 0;
#pragma unroll
  for (int q = 0; q < 8 * BYTES; ++q) {
    const u32 *vectors = payload + (u64)(t >> 2) * (8 * BYTES) + q;
    u32 first = __ldg(vectors), second = __ldg(vectors + 8 * BYTES);
    u32 third = __ldg(vectors + 16 * BYTES);
    u32 both = (__funnelshift_r(first, second, shift) & low) ^
               (__funnelshift_r(second, third, shift) & high);
    word |= (__popc(both) & 1u) << q;
  }
  return word;
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, 1)
encoded_product(const uint2 *__restrict__ heads, const u8 *__restrict__ steps, u32 n_chunks,
                const u32 *__restrict__ payload,  // [vector / 4][plane], 4 vectors a word
                const u64 *__restrict__ rows, u32 n_out, u32 n_out_magic,  // 2^32 / n_out
                const u32 *__restrict__ luts,        // [BYTES][256] (LUT)
                const u32 *__restrict__ flips,       // [group][FLIPS], bit = lane
                const u32 *__restrict__ flip_words,  // what a flip changes in the word
                u32 offset, const u32 *__restrict__ exception_index,
                const u32 *__restrict__ exception_word, u32 n_exceptions, u64 fraction,
                u64 column_fraction, u64 turn_fraction, u32 n_rows, u32 n_cols, u32 g_row,
                u32 g_col, const sum_t *__restrict__ x, u32 x_pitch, y_t *__restrict__ y,
                u32 y_pitch, const y_t *__restrict__ scale) {
  extern __shared__ uint4 shared[];
  const Walk walk = {fraction, column_fraction, turn_fraction, n_rows, n_cols, g_row, g_col};
  const u32 lane = lane_number(), below = lanes_up_to_this();
  const u32 warp = threadIdx.x >> 5, warps = THREADS / 32;
  u32 *matrix = (u32 *)shared;
  u32 *tables = matrix + (DECODE_BMMA ? n_out * BLOCKS * 4 : 0);
  sum_t *y_shared = (sum_t *)(tables + (LUT ? BYTES * 256 : 0));
  sum_t *x_shared = (sum_t *)(y_shared + (u64)walk.n_rows * COLUMNS);
#if IN_SHARED
  for (u32 e = threadIdx.x; e < walk.n_rows * COLUMNS; e += THREADS) y_shared[e] = 0;
  for (u32 e = threadIdx.x; e < walk.n_cols * COLUMNS; e += THREADS)
    x_shared[e] = x[(u64)column_of(walk, e / COLUMNS) * x_pitch + e % COLUMNS];
#endif
#if DECODE_BMMA
  // Row r meets the 16 vectors of a group, if its block is their s-th, as the 128 bits row << 8s.
  const u32 matrix_address = (u32)__cvta_generic_to_shared(matrix);
  for (u32 e = threadIdx.x; e < BLOCKS * n_out; e += THREADS) {
    const u64 row = rows[e / BLOCKS];
    const u32 s = 8 * (e % BLOCKS);
    u64 *out = (u64 *)(matrix + 4 * e);
    out[0] = s < 64 ? row << s : 0;
    out[1] = s == 0 ? 0 : s < 64 ? row >> (64 - s) : row << (s - 64);
  }
#endif
#if LUT
  for (u32 e = threadIdx.x; e < BYTES * 256; e += THREADS) tables[e] = luts[e];
#endif
  __syncthreads();

  // Each thread block takes a contiguous share of the chunks, its warps neighbouring groups. Groups
  // of no weights fill the last chunk and one beyond, so that fetching ahead needs no check.
  const u32 chunk = UNROLL * warps, share = (n_chunks + gridDim.x - 1) / gridDim.x;
  const u32 begin = blockIdx.x * share;
  const u32 end = n_chunks < begin + share ? n_chunks : begin + share;
  u32 index = begin * chunk + warp;
#if DECODE_BMMA
  const u32 row_step = 16 - 16 * BLOCKS * n_out;
  const Powers powers = plane_powers(lane);
#endif
  Group next[UNROLL];
  if (begin < end)
#pragma unroll
    for (int u = 0; u < UNROLL; ++u)
      next[u] = fetch(heads + index + u * warps, steps + 32 * (index + u * warps) + lane);

  for (; index < end * chunk; index += chunk) {
    Group now[UNROLL];
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) now[u] = next[u];
#if DECODE_BMMA
    u32 b[UNROLL][BYTES];  // lane 4g + c: input vectors 4c..4c+3 of plane g
#pragma unroll
    for (int u = 0; u < UNROLL; ++u)
#pragma unroll
      for (int n = 0; n < BYTES; ++n)
        b[u][n] = __ldg(payload + (u64)(now[u].head.x + (lane & 3)) * (8 * BYTES) + 8 * n +
                            (lane >> 2));
#endif
#pragma unroll
    for (int u = 0; u < UNROLL; ++u)
      next[u] = fetch(heads + index + chunk + u * warps,
                      steps + 32 * (index + chunk + u * warps) + lane);

#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
      const u32 first = now[u].head.y & 0xffffff;
      const bool mine = (lane << 24 | 0xffffff) < now[u].head.y;  // lane < count
      // Steps are distances modulo 256, less than 256 apart: each fall is a carry into bit 8.
      const u32 before = __shfl_up_sync(ALL, now[u].step, 1);
      const u32 carries = __ballot_sync(ALL, now[u].step < before);
      const u32 distance = first + now[u].step + 256 * __popc(carries & below);
      // Exact for distance < 16 n_out and n_out < 2^14.
      const u32 block = (u32)(((u64)distance * n_out_magic + 16 * n_out) >> 32);
#if DECODE_BMMA
      // Row (distance - block * n_out) * BLOCKS + block of 16 bytes each.
      const u32 row = matrix_address + 16 * BLOCKS * distance + block * row_step;
      const u32 stored = decode(row, b[u], lane, powers);
#else
      const u32 stored =
          decode(payload, 4 * now[u].head.x + block, __ldg(rows + distance - block * n_out));
#endif
      u32 word = offset;
#if LUT
#pragma unroll
      for (int n = 0; n < BYTES; ++n)
        word ^= tables[256 * n + (stored >> (8 * n) & 0xff)];
#else
      word ^= stored;
#endif
#pragma unroll 4
      for (int f = 0; f < FLIPS; ++f)
        if ((__ldg(flips + (u64)(index + u * warps) * FLIPS + f) >> lane & 1))
          word ^= __ldg(flip_words + f);
      if (mine) {
        u32 i, j;
        locate(walk, now[u].head.x * 4 * n_out + distance, &i, &j);
        accumulate(walk, i, j, weight_value(word), x, x_pitch, x_shared, y, y_pitch, y_shared,
                   scale);
      }
    }
  }

  for (u32 e = blockIdx.x * THREADS + threadIdx.x; e < n_exceptions; e += gridDim.x * THREADS) {
    const u32 index = exception_index[e], i = index / walk.n_cols;
    accumulate(walk, i, index - i * walk.n_cols, weight_value(exception_word[e]), x, x_pitch,
               x_shared, y, y_pitch, y_shared, scale);
  }

#if IN_SHARED
  __syncthreads();
  for (u32 e = threadIdx.x; e < walk.n_rows * COLUMNS; e += THREADS) {
    const sum_t sum = y_shared[e];
    if (sum == 0) continue;
    const u32 row = row_of(walk, e / COLUMNS);
#if SCALED
    add(y + (u64)row * y_pitch + e % COLUMNS, (y_t)sum * scale[row]);
#else
    add(y + (u64)row * y_pitch + e % COLUMNS, sum);
#endif
  }
#endif
}
