/* What every target shares: the call convention, vectors of 16 floats, explicit FMA, and exp and tanh built from them.
 *
 * Vectors are GNU vector types; operations without an operator are lane loops.  gcc turns such a loop into one
 * instruction as long as it is not told to unroll it; clang only once it is, hence LANES_UNROLLED.  The same loops over
 * a plain array give the same bits on a machine without vectors. */
#ifndef TARGET_H
#define TARGET_H

#include <stdint.h>
#include <string.h>

/* The call convention: docs/design.md, "The C contract". */
enum { ADJOINT_OK = 0, ADJOINT_CHECK = 1, ADJOINT_TAPE = 2, ADJOINT_ARGUMENT = 3 };
typedef struct adjoint_context adjoint_context;
typedef void (*adjoint_chunks)(const void *task, int64_t begin, int64_t end, int32_t worker);
struct adjoint_context {
  int32_t workers;
  int32_t status;
  int32_t site;
  int32_t reserved;
  int64_t value;
  int64_t bound;
  void (*parallel_for)(adjoint_context *, adjoint_chunks, const void *task, int64_t chunks);
  void *pool;
  int32_t (*grow)(adjoint_context *, uint64_t bytes);
  void *tape;
  uint64_t tape_bytes;
  uint64_t (*clock)(void);
  uint64_t *counters;
};

/* Scratch is reserved for this many workers; a worker number is below it and in use by one thread at a time. */
#define TARGET_WORKERS 2

/* Runs `body` over [0, chunks).  The number of chunks must never depend on the number of workers: partial sums belong
 * to chunks, not to workers, so that any number of threads gives the same bits. */
static inline void parallel_for(adjoint_context *context, adjoint_chunks body, const void *task, int64_t chunks) {
  if (context && context->parallel_for && context->workers > 1)
    context->parallel_for(context, body, task, chunks);
  else
    body(task, 0, chunks, 0);
}

#define LANES 16
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

#define ALIGNED __attribute__((aligned(64)))
#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define LANES_UNROLLED _Pragma("clang loop unroll(full)")
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#else
#define LANES_UNROLLED
#define UNROLL_TEXT(text) _Pragma(#text)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#endif

/* memcpy rather than a cast: no alignment is assumed and no aliasing rule is broken; it is one vmovups. */
INLINE vf load(const float *p) {
  vf r;
  memcpy(&r, p, sizeof r);
  return r;
}

INLINE void store(float *p, vf x) { memcpy(p, &x, sizeof x); }

/* x - 0 is x for every float (0 + x would lose the sign of -0), so this folds to a bare broadcast, which gcc then
 * merges into the memory operand of an FMA. */
INLINE vf splat(float x) { return x - (vf){0}; }

/* a * b + c */
INLINE vf fma_(vf a, vf b, vf c) {
  vf r;
  LANES_UNROLLED
  for (int i = 0; i < LANES; i++) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
}

/* c - a * b */
INLINE vf fnma(vf a, vf b, vf c) {
  vf r;
  LANES_UNROLLED
  for (int i = 0; i < LANES; i++) r[i] = __builtin_fmaf(-a[i], b[i], c[i]);
  return r;
}

/* a > b ? a : b in each lane is exactly vmaxps: the second operand wins when either is not a number. */
INLINE vf maximum(vf a, vf b) {
  vf r;
  LANES_UNROLLED
  for (int i = 0; i < LANES; i++) r[i] = a[i] > b[i] ? a[i] : b[i];
  return r;
}

INLINE vf minimum(vf a, vf b) {
  vf r;
  LANES_UNROLLED
  for (int i = 0; i < LANES; i++) r[i] = a[i] < b[i] ? a[i] : b[i];
  return r;
}

/* Lanes of a where the mask (0 or -1, as a comparison gives) is set, else of b. */
INLINE vf choose(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

INLINE vf relu(vf x) { return maximum(x, (vf){0}); }

/* Sums and maxima over lanes halve the vector each time, an order that plain C repeats without vectors.  A loop over an
 * array on the stack would do, but costs a failed store-to-load forwarding at every halving. */
typedef float vf_half __attribute__((vector_size(32)));
typedef float vf_quarter __attribute__((vector_size(16)));

INLINE float sum_lanes(vf x) {
  vf_half h;
  vf_quarter q;
  LANES_UNROLLED
  for (int i = 0; i < 8; i++) h[i] = x[i] + x[i + 8];
  LANES_UNROLLED
  for (int i = 0; i < 4; i++) q[i] = h[i] + h[i + 4];
  return (q[0] + q[2]) + (q[1] + q[3]);
}

INLINE float max_lanes(vf x) {
  vf_half h;
  vf_quarter q;
  LANES_UNROLLED
  for (int i = 0; i < 8; i++) h[i] = x[i] > x[i + 8] ? x[i] : x[i + 8];
  LANES_UNROLLED
  for (int i = 0; i < 4; i++) q[i] = h[i] > h[i + 4] ? h[i] : h[i + 4];
  float a = q[0] > q[2] ? q[0] : q[2], b = q[1] > q[3] ? q[1] : q[3];
  return a > b ? a : b;
}

/* a0 b0 a1 b1 ... of the lower, or the upper, halves. */
INLINE vf interleave_low(vf a, vf b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

INLINE vf interleave_high(vf a, vf b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* Transposes 16 by 16.  One round turns the eight bits (row, lane) of every place left by one; four swap the two.  Load
 * the rows from memory rather than hand over accumulators: beside shuffles clang splits these into half vectors. */
INLINE void transpose(vf r[16]) {
  UNROLL(4)
  for (int round = 0; round < 4; round++) {
    vf t[16];
    UNROLL(8)
    for (int i = 0; i < 8; i++) {
      t[2 * i] = interleave_low(r[i], r[i + 8]);
      t[2 * i + 1] = interleave_high(r[i], r[i + 8]);
    }
    UNROLL(16)
    for (int i = 0; i < 16; i++) r[i] = t[i];
  }
}

/* Fetches the cache line that holds p; PREFETCH_WRITE when it will be stored to. */
#define PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)

/* exp(x) = 2^k exp(r) with |r| <= ln(2)/2.  Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
#define ROUND_SHIFT 12582912.0f
#define ROUND_BITS 0x4b400000
#define LOG2_E 1.44269504088896341f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f

/* exp(r) - 1 on [-ln(2)/2, ln(2)/2], as r + r^2 q(r). */
INLINE vf expm1_reduced(vf r) {
  vf q = fma_(splat(1.9875691500e-4f), r, splat(1.3981999507e-3f));
  q = fma_(q, r, splat(8.3334519073e-3f));
  q = fma_(q, r, splat(4.1665795894e-2f));
  q = fma_(q, r, splat(1.6666665459e-1f));
  q = fma_(q, r, splat(5.0000001201e-1f));
  return fma_(q, r * r, r);
}

/* e^x over the whole range: 0 below, infinity above, NaN stays. */
INLINE vf exp_(vf x) {
  vf inside = maximum(minimum(x, splat(89.0f)), splat(-104.0f));
  vf shifted = fma_(inside, splat(LOG2_E), splat(ROUND_SHIFT));
  vf k = shifted - splat(ROUND_SHIFT);
  vf r = fnma(k, splat(LN2_LOW), fnma(k, splat(LN2_HIGH), inside));
  vf p = expm1_reduced(r) + splat(1.0f);
  /* Two factors, because 2^128 and 2^-149 have no single one. */
  vi whole = (vi)shifted - ROUND_BITS, half = whole >> 1;
  p = p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
  return choose(x != x, x, p);
}

/* e^x for x <= 0 without NaN, as in a softmax after the maximum is taken off; below -87 it is 0. */
INLINE vf exp_nonpositive(vf x) {
  vf inside = maximum(x, splat(-87.0f));
  vf shifted = fma_(inside, splat(LOG2_E), splat(ROUND_SHIFT));
  vf k = shifted - splat(ROUND_SHIFT);
  vf r = fnma(k, splat(LN2_LOW), fnma(k, splat(LN2_HIGH), inside));
  vf p = expm1_reduced(r) + splat(1.0f);
  p = p * (vf)(((vi)shifted - ROUND_BITS + 127) << 23);
  return (vf)((vi)p & (x > splat(-87.0f)));
}

/* tanh(x) = t / (t + 2) with t = e^2x - 1, taken at |x| and given the sign of x; beyond 10 it is 1 to the last bit. */
INLINE vf tanh_(vf x) {
  vi sign = (vi)x & INT32_MIN;
  vf size = (vf)((vi)x & INT32_MAX);
  vf y = minimum(size, splat(10.0f));
  y = y + y;
  vf shifted = fma_(y, splat(LOG2_E), splat(ROUND_SHIFT));
  vf k = shifted - splat(ROUND_SHIFT);
  vf r = fnma(k, splat(LN2_LOW), fnma(k, splat(LN2_HIGH), y));
  vf scale = (vf)(((vi)shifted - ROUND_BITS + 127) << 23);
  vf t = fma_(expm1_reduced(r), scale, scale - splat(1.0f));
  t = t / (t + splat(2.0f));
  return choose(x != x, x, (vf)((vi)t | sign));
}

/* 1 / (1 + e^-x) */
INLINE vf sigmoid(vf x) { return fma_(tanh_(x * splat(0.5f)), splat(0.5f), splat(0.5f)); }

/* log(x) of a normal positive x, as a softmax denominator is: x = m 2^e with m in [sqrt(1/2), sqrt(2)), and
 * log(m) = 2 atanh(s) with s = (m - 1) / (m + 1).  One number a row, so plain C. */
static inline float log_positive(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t e = (bits - 0x3f3504f3) >> 23;
  bits -= (int32_t)((uint32_t)e << 23);
  float m;
  memcpy(&m, &bits, sizeof m);
  float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = __builtin_fmaf(0.22222222f, z, 0.28571429f);
  p = __builtin_fmaf(p, z, 0.4f);
  p = __builtin_fmaf(p, z, 0.66666667f);
  p = __builtin_fmaf(p * z, s, 2.0f * s);
  float k = (float)e;
  return __builtin_fmaf(k, LN2_HIGH, __builtin_fmaf(k, LN2_LOW, p));
}

#endif
