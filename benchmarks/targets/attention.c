/* Causal attention of 12 * 4 heads with 32 features each, its mean squared error and the gradients of q, k and v:
 *
 *   s = q k^T / sqrt(32)     p = softmax of s over keys up to the query     o = p v     loss = mean((o - t)^2)
 *
 * A chunk is one head.  Everything that is per pair of positions is held transposed, keys by queries: the lanes of a
 * vector are queries, so that a softmax needs no sum across lanes and its statistics are vectors.
 *
 * `step` does both directions of 32 queries at a time, possible because the cotangent of o needs nothing but o.
 * With FUSED 0 it runs the two kernels that a longer graph needs, whose tape is o and the maximum and sum of each row. */
#include "target.h"

#ifndef POSITIONS
#define POSITIONS 64
#endif
#ifndef FUSED
#define FUSED 1
#endif

enum {
  HEADS = 12 * 4,
  FEATURES = 32,
  QUERIES = 32, /* of a block: two vectors of lanes */
  KEYS = 64,    /* whose rows of e and v, or of ds and k, stay in L1 while all queries of a block use them */
  TILE = 8      /* rows of a register tile; bounds are exact to one tile */
};
static const float SCALE = 0.17677669529663688f;                             /* 1 / sqrt(FEATURES) */
static const float COTANGENT = 2.0f / ((float)HEADS * POSITIONS * FEATURES); /* of the mean of squares */

typedef float rows[POSITIONS][FEATURES];
typedef float pairs[POSITIONS][QUERIES]; /* keys by the queries of a block */

typedef struct {
  const float *q, *k, *v, *t; /* [HEADS, POSITIONS, FEATURES] */
  float *dq, *dk, *dv;        /* the same */
  float *loss;                /* [1] */
} step_args;

/* What a block of queries needs at hand: the size of L1 or, with 256 positions, a little more. */
typedef struct {
  pairs e;                             /* s, then exp(s - maximum), 0 above the diagonal */
  pairs ds;                            /* cotangent of p, then of s */
  float columns[FEATURES][QUERIES];    /* q^T / sqrt(32), later (dout)^T */
  float dout[QUERIES][FEATURES];       /* cotangent of o over the row sum of e */
} ALIGNED scratch;

typedef struct {
  scratch local[TARGET_WORKERS];
  float squares[HEADS][LANES];
  float o[HEADS][POSITIONS][FEATURES]; /* the tape of the two kernels: o, and per row what recomputes p */
  float maximum[HEADS][POSITIONS];
  float sum[HEADS][POSITIONS];
} workspace;

typedef struct {
  const step_args *args;
  workspace *ws;
} task;

/* acc[8, 16 vectors] += a[8, begin to end-1] b[begin to end-1, 16 vectors] */
INLINE void tile_add(vf acc[TILE][2], int vectors, const float *a, int64_t row_stride, int64_t depth_stride,
                     const float *b, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n++) {
    vf b0 = load(b + n * 32), b1 = vectors > 1 ? load(b + n * 32 + LANES) : b0;
    UNROLL(8)
    for (int i = 0; i < TILE; i++) {
      vf x = splat(a[i * row_stride + n * depth_stride]);
      acc[i][0] = fma_(x, b0, acc[i][0]);
      if (vectors > 1) acc[i][1] = fma_(x, b1, acc[i][1]);
    }
  }
}

INLINE void tile_zero(vf acc[TILE][2]) {
  UNROLL(8)
  for (int i = 0; i < TILE; i++) acc[i][0] = acc[i][1] = (vf){0};
}

INLINE void tile_load(vf acc[TILE][2], float x[TILE][32]) {
  UNROLL(8)
  for (int i = 0; i < TILE; i++) acc[i][0] = load(x[i]), acc[i][1] = load(x[i] + LANES);
}

/* The register tile as a visible one: epilogues are loops over its rows, not eight copies of themselves. */
INLINE void tile_store(float out[TILE][32], vf acc[TILE][2]) {
  UNROLL(8)
  for (int i = 0; i < TILE; i++) {
    store(out[i], acc[i][0]);
    store(out[i] + LANES, acc[i][1]);
  }
}

/* columns[f][i] = factor * x[i, f] */
INLINE void transpose_block(float columns[FEATURES][QUERIES], const float *x, float factor) {
  for (int64_t i0 = 0; i0 < QUERIES; i0 += LANES)
    for (int64_t f0 = 0; f0 < FEATURES; f0 += LANES) {
      vf square[LANES];
      UNROLL(16)
      for (int i = 0; i < LANES; i++) square[i] = load(x + (i0 + i) * FEATURES + f0) * splat(factor);
      transpose(square);
      UNROLL(16)
      for (int f = 0; f < LANES; f++) store(columns[f0 + f] + i0, square[f]);
    }
}

static const vi LANE = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Vectors of a block's queries that see key n: both, or from the middle of the diagonal on only the second. */
INLINE int64_t first_vector(int64_t n, int64_t q0) { return n < q0 + LANES ? 0 : LANES; }

/* x[n, i] of 8 keys from `n0` by the queries of the block: key rows `a` times `columns`, 0 to 31 contracted. */
INLINE void pair_tile(float x[TILE][QUERIES], const float *a, float columns[FEATURES][QUERIES], int64_t n0,
                      int64_t q0) {
  vf acc[TILE][2];
  tile_zero(acc);
  if (first_vector(n0, q0) == 0) {
    tile_add(acc, 2, a, FEATURES, 1, columns[0], 0, FEATURES);
    tile_store(x, acc);
  } else {
    tile_add(acc, 1, a, FEATURES, 1, columns[0] + LANES, 0, FEATURES);
    UNROLL(8)
    for (int i = 0; i < TILE; i++) store(x[i] + LANES, acc[i][0]);
  }
}

/* Scores s of the block, and their maximum for each query. */
INLINE void scores(scratch *w, const float k[POSITIONS][FEATURES], int64_t q0, float maximum_of[QUERIES]) {
  for (int64_t i = 0; i < QUERIES; i += LANES) {
    vf most = splat(-__builtin_inff());
    store(maximum_of + i, most);
  }
  for (int64_t n0 = 0; n0 < q0 + QUERIES; n0 += TILE) {
    pair_tile(w->e + n0, k[n0], w->columns, n0, q0);
    for (int64_t i = first_vector(n0, q0); i < QUERIES; i += LANES) {
      vf most = load(maximum_of + i);
      if (n0 < q0 + i)
        for (int64_t n = n0; n < n0 + TILE; n++) most = maximum(most, load(w->e[n] + i));
      else /* only here does a vector cross the diagonal */
        for (int64_t n = n0; n < n0 + TILE; n++) {
          vf s = choose(LANE + (int32_t)(q0 + i - n) >= 0, load(w->e[n] + i), splat(-__builtin_inff()));
          store(w->e[n] + i, s);
          most = maximum(most, s);
        }
      store(maximum_of + i, most);
    }
  }
}

/* s becomes e = exp(s - maximum); returns the sums. */
INLINE void exponentials(scratch *w, int64_t q0, const float maximum_of[QUERIES], float sum_of[QUERIES]) {
  for (int64_t i = 0; i < QUERIES; i += LANES) {
    vf most = load(maximum_of + i), sum = {0};
    for (int64_t n = 0; n < q0 + i + LANES; n++) {
      vf e = exp_nonpositive(load(w->e[n] + i) - most);
      store(w->e[n] + i, e);
      sum += e;
    }
    store(sum_of + i, sum);
  }
}

/* Squared errors of the rows of o = scale * x and their cotangents, kept over the row sums: then e takes the place of p
 * in every contraction. */
INLINE vf cotangents(scratch *w, const float x[QUERIES][FEATURES], const float *scale, const float t[QUERIES][FEATURES],
                     const float *inverse, vf squares) {
  for (int64_t i = 0; i < QUERIES; i++)
    for (int64_t f = 0; f < FEATURES; f += LANES) {
      vf error = load(x[i] + f) * splat(scale ? scale[i] : 1.0f) - load(t[i] + f);
      squares = fma_(error, error, squares);
      store(w->dout[i] + f, error * splat(COTANGENT * inverse[i]));
    }
  return squares;
}

/* x[i] = sum over the keys n <= i of pair[n, i] y[n], for the queries of the block */
INLINE void query_rows(float x[QUERIES][FEATURES], pairs pair, const float y[POSITIONS][FEATURES], int64_t q0) {
  memset(x, 0, QUERIES * sizeof x[0]);
  for (int64_t n0 = 0; n0 < q0 + QUERIES; n0 += KEYS)
    for (int64_t i0 = 0; i0 < QUERIES; i0 += TILE) {
      int64_t seen = q0 + i0 + TILE, end = n0 + KEYS < seen ? n0 + KEYS : seen;
      vf acc[TILE][2];
      tile_load(acc, x + i0);
      tile_add(acc, 2, pair[0] + i0, 1, QUERIES, y[0], n0, end);
      tile_store(x + i0, acc);
    }
}

/* x[n] += sum over the queries i >= n of pair[n, i] y[i], for 8 keys from n0 */
INLINE void key_tile(float x[TILE][FEATURES], float pair[TILE][QUERIES], const float *y, int64_t n0, int64_t q0) {
  vf acc[TILE][2];
  tile_load(acc, x);
  tile_add(acc, 2, pair[0], QUERIES, 1, y, n0 > q0 ? n0 - q0 : 0, QUERIES);
  tile_store(x, acc);
}

/* From e and dout of a block to dq of its queries and what it adds to dk and dv. */
INLINE void backward(scratch *w, const float q[POSITIONS][FEATURES], const float k[POSITIONS][FEATURES],
                     const float v[POSITIONS][FEATURES], int64_t q0, const float *inverse,
                     float dq[POSITIONS][FEATURES], float dk[POSITIONS][FEATURES], float dv[POSITIONS][FEATURES]) {
  transpose_block(w->columns, w->dout[0], 1.0f);
  for (int64_t n0 = 0; n0 < q0 + QUERIES; n0 += TILE) pair_tile(w->ds + n0, v[n0], w->columns, n0, q0);
  for (int64_t i = 0; i < QUERIES; i += LANES) {
    vf mean = {0};
    for (int64_t n = 0; n < q0 + i + LANES; n++) mean = fma_(load(w->e[n] + i), load(w->ds[n] + i), mean);
    mean *= load(inverse + i);
    for (int64_t n = 0; n < q0 + i + LANES; n++)
      store(w->ds[n] + i, load(w->e[n] + i) * splat(SCALE) * (load(w->ds[n] + i) - mean));
  }
  query_rows(dq + q0, w->ds, k, q0);
  for (int64_t n0 = 0; n0 < q0 + QUERIES; n0 += TILE) {
    key_tile(dk + n0, w->ds + n0, q[q0], n0, q0);
    key_tile(dv + n0, w->e + n0, w->dout[0], n0, q0);
  }
}

INLINE void inverses(float inverse[QUERIES], const float sum[QUERIES]) {
  for (int64_t i = 0; i < QUERIES; i += LANES) store(inverse + i, splat(1.0f) / load(sum + i));
}

/* Chunk: a head, forward and backward. */
static void both(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *all = argument;
  const step_args *args = all->args;
  scratch *w = &all->ws->local[worker];
  for (int64_t head = begin; head < end; head++) {
    const rows *q = (const rows *)args->q + head, *k = (const rows *)args->k + head, *v = (const rows *)args->v + head;
    const rows *t = (const rows *)args->t + head;
    rows *dq = (rows *)args->dq + head, *dk = (rows *)args->dk + head, *dv = (rows *)args->dv + head;
    vf squares = {0};
    memset(dk, 0, sizeof *dk);
    memset(dv, 0, sizeof *dv);
    for (int64_t q0 = 0; q0 < POSITIONS; q0 += QUERIES) {
      float maximum_of[QUERIES] ALIGNED, sum[QUERIES] ALIGNED, inverse[QUERIES] ALIGNED;
      transpose_block(w->columns, (*q)[q0], SCALE);
      scores(w, *k, q0, maximum_of);
      exponentials(w, q0, maximum_of, sum);
      inverses(inverse, sum);
      float x[QUERIES][FEATURES] ALIGNED;
      query_rows(x, w->e, *v, q0);
      squares = cotangents(w, (const float(*)[FEATURES])x, inverse, *t + q0, inverse, squares);
      backward(w, *q, *k, *v, q0, inverse, *dq, *dk, *dv);
    }
    store(all->ws->squares[head], squares);
  }
}

/* Chunk: a head, forward only; leaves o, maximum and sum. */
static void forward_only(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *all = argument;
  const step_args *args = all->args;
  workspace *ws = all->ws;
  scratch *w = &ws->local[worker];
  for (int64_t head = begin; head < end; head++) {
    const rows *q = (const rows *)args->q + head, *k = (const rows *)args->k + head, *v = (const rows *)args->v + head;
    for (int64_t q0 = 0; q0 < POSITIONS; q0 += QUERIES) {
      float inverse[QUERIES] ALIGNED;
      transpose_block(w->columns, (*q)[q0], SCALE);
      scores(w, *k, q0, ws->maximum[head] + q0);
      exponentials(w, q0, ws->maximum[head] + q0, ws->sum[head] + q0);
      inverses(inverse, ws->sum[head] + q0);
      float(*o)[FEATURES] = ws->o[head] + q0;
      query_rows(o, w->e, *v, q0);
      for (int64_t i = 0; i < QUERIES; i++)
        for (int64_t f = 0; f < FEATURES; f += LANES) store(o[i] + f, load(o[i] + f) * splat(inverse[i]));
    }
  }
}

/* Chunk: a head, backward only.  e is exp(s - maximum) again, this time as the epilogue of the score tile. */
static void backward_only(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *all = argument;
  const step_args *args = all->args;
  workspace *ws = all->ws;
  scratch *w = &ws->local[worker];
  for (int64_t head = begin; head < end; head++) {
    const rows *q = (const rows *)args->q + head, *k = (const rows *)args->k + head, *v = (const rows *)args->v + head;
    const rows *t = (const rows *)args->t + head;
    rows *dq = (rows *)args->dq + head, *dk = (rows *)args->dk + head, *dv = (rows *)args->dv + head;
    vf squares = {0};
    memset(dk, 0, sizeof *dk);
    memset(dv, 0, sizeof *dv);
    for (int64_t q0 = 0; q0 < POSITIONS; q0 += QUERIES) {
      float inverse[QUERIES] ALIGNED;
      inverses(inverse, ws->sum[head] + q0);
      transpose_block(w->columns, (*q)[q0], SCALE);
      for (int64_t n0 = 0; n0 < q0 + QUERIES; n0 += TILE) {
        pair_tile(w->e + n0, (*k)[n0], w->columns, n0, q0);
        for (int64_t i = first_vector(n0, q0); i < QUERIES; i += LANES) {
          vf most = load(ws->maximum[head] + q0 + i);
          for (int64_t n = n0; n < n0 + TILE; n++) {
            vf e = exp_nonpositive(load(w->e[n] + i) - most);
            store(w->e[n] + i, (vf)((vi)e & (LANE + (int32_t)(q0 + i - n) >= 0)));
          }
        }
      }
      squares = cotangents(w, (const float(*)[FEATURES])ws->o[head] + q0, 0, *t + q0, inverse, squares);
      backward(w, *q, *k, *v, q0, inverse, *dq, *dk, *dv);
    }
    store(ws->squares[head], squares);
  }
}

uint64_t step_workspace(const void *args) {
  (void)args;
  return sizeof(workspace);
}

int32_t step(const void *arguments, void *memory, adjoint_context *context) {
  const step_args *args = arguments;
  workspace *ws = memory;
  const task all = {args, ws};
  if (FUSED) {
    parallel_for(context, both, &all, HEADS);
  } else {
    parallel_for(context, forward_only, &all, HEADS);
    parallel_for(context, backward_only, &all, HEADS);
  }
  vf squares = {0};
  for (int64_t head = 0; head < HEADS; head++) squares += load(ws->squares[head]);
  args->loss[0] = sum_lanes(squares) * (1.0f / ((float)HEADS * POSITIONS * FEATURES));
  return ADJOINT_OK;
}
