/* One training step of an LSTM with a linear readout: 64 steps of 32 sequences, 64 inputs, 128 units, mean squared
 * error, SGD.  Gates come in the order i, f, g, o:
 *
 *   z = x[t] wx + h[t-1] wh + b      c[t] = f c[t-1] + i g      h[t] = o tanh(c[t])      p = h[T-1] wo + bo
 *
 * Three parallel regions: pack the weights; run all of time forward and backward for a block of sequences; contract the
 * weight gradients over time and batch at once and update in their epilogue. */
#include "target.h"

enum {
  STEPS = 64,
  BATCH = 32,
  INPUTS = 64,
  UNITS = 128,
  GATES = 4 * UNITS,
  ROWS = STEPS * BATCH, /* (t, b), the contracted axis of the weight gradients */
  BLOCK = 16,           /* sequences of one chunk */
  BLOCKS = BATCH / BLOCK,
  TILE = 8,  /* rows of a register tile, which is two vectors wide */
  WIDE = 32, /* its columns, and those of a panel */
  PANELS = GATES / WIDE,
  GROUP = 4, /* panels whose weight gradients one chunk sums */
  OUT_PANELS = UNITS / WIDE,
  /* A panel of the tape is read whole by the weight gradients and in slices of 16 rows by the time loop.  With a power
   * of two between panels all slices of one step would fall into half the sets of L1. */
  TAPE_ROWS = ROWS + BLOCK,
  /* The weight gradients walk down columns of h: a row that is not a power of two long spreads them over L1. */
  STATE = UNITS + LANES,
  /* Rows of a contracted axis that are done for every tile before the next ones: their part of the panel stays in L1. */
  DEPTH = 128
};
static const float RATE = 0.01f;

typedef struct {
  const float *x;     /* [STEPS, BATCH, INPUTS] */
  const float *y;     /* [BATCH] */
  float *wx;          /* [INPUTS, GATES] */
  float *wh;          /* [UNITS, GATES] */
  float *b;           /* [GATES] */
  float *wo;          /* [UNITS] */
  float *bo;          /* [1] */
  float *loss;        /* [1] */
} step_args;

/* Panel 2u holds i and g, panel 2u+1 holds f and o, of units 16u to 16u+15: what an epilogue needs together lies
 * together, and a row of a panel is one row of a register tile. */
typedef struct {
  float in[PANELS][INPUTS + UNITS][WIDE] ALIGNED; /* wx over wh */
  float out[OUT_PANELS][GATES][WIDE];             /* wh transposed, its rows in the order of the tape's columns */
  float bias[PANELS][WIDE];
  float tape[PANELS][TAPE_ROWS][WIDE];       /* z, then the gates, then their cotangents, each in place */
  float h[(STEPS + 1) * BATCH][STATE];       /* from t = -1, so that row r is what step r / BATCH reads */
  float c[(STEPS + 1) * BATCH][UNITS];
  float tanh_c[ROWS][UNITS];
  float dc[BATCH][UNITS];                    /* cotangent of c, carried backward */
  float dw[PANELS][INPUTS + UNITS][WIDE];    /* like `in` */
  float dwo[BLOCKS][UNITS];                  /* partial sums belong to blocks */
  float dbo[BLOCKS];
  float squares[BLOCKS];
} workspace;

typedef struct {
  const step_args *args;
  workspace *ws;
} task;

/* Columns of wx, wh and b that the halves of a panel hold. */
INLINE int64_t first_column(int64_t panel) { return (panel & 1 ? 1 : 0) * UNITS + panel / 2 * LANES; }
INLINE int64_t second_column(int64_t panel) { return (panel & 1 ? 3 : 2) * UNITS + panel / 2 * LANES; }

/* acc[8, 32] += a[8, depth] panel[depth, 32] */
INLINE void tile_add(vf acc[TILE][2], const float *a, int64_t row_stride, int64_t depth_stride, const float *panel,
                     int64_t depth) {
  for (int64_t k = 0; k < depth; k++) {
    vf b0 = load(panel + k * WIDE), b1 = load(panel + k * WIDE + LANES);
    UNROLL(8)
    for (int i = 0; i < TILE; i++) {
      vf x = splat(a[i * row_stride + k * depth_stride]);
      acc[i][0] = fma_(x, b0, acc[i][0]);
      acc[i][1] = fma_(x, b1, acc[i][1]);
    }
  }
}

INLINE void tile_load(vf acc[TILE][2], float part[TILE][WIDE]) {
  UNROLL(8)
  for (int i = 0; i < TILE; i++) acc[i][0] = load(part[i]), acc[i][1] = load(part[i] + LANES);
}

INLINE void tile_store(float part[TILE][WIDE], vf acc[TILE][2]) {
  UNROLL(8)
  for (int i = 0; i < TILE; i++) {
    store(part[i], acc[i][0]);
    store(part[i] + LANES, acc[i][1]);
  }
}

/* Chunks 0 to PANELS-1 fill `in`, the others fill `out`. */
static void pack(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *t = argument;
  const step_args *args = t->args;
  workspace *ws = t->ws;
  (void)worker;
  for (int64_t chunk = begin; chunk < end; chunk++) {
    if (chunk < PANELS) {
      int64_t c0 = first_column(chunk), c1 = second_column(chunk);
      for (int64_t k = 0; k < INPUTS + UNITS; k++) {
        const float *row = k < INPUTS ? args->wx + k * GATES : args->wh + (k - INPUTS) * GATES;
        store(ws->in[chunk][k], load(row + c0));
        store(ws->in[chunk][k] + LANES, load(row + c1));
      }
      store(ws->bias[chunk], load(args->b + c0));
      store(ws->bias[chunk] + LANES, load(args->b + c1));
    } else {
      int64_t n = chunk - PANELS;
      for (int64_t half = 0; half < 2 * PANELS; half++) {
        int64_t column = half & 1 ? second_column(half / 2) : first_column(half / 2);
        for (int64_t j = 0; j < WIDE; j++) {
          const float *row = args->wh + (n * WIDE + j) * GATES + column;
          for (int64_t i = 0; i < LANES; i++) ws->out[n][half * LANES + i][j] = row[i];
        }
      }
    }
  }
}

/* z of 8 rows and one panel, then its gates; the second panel of a pair also finishes c and h. */
INLINE void forward_tile(const step_args *args, workspace *ws, int64_t row, int64_t panel) {
  vf acc[TILE][2], b0 = load(ws->bias[panel]), b1 = load(ws->bias[panel] + LANES);
  UNROLL(8)
  for (int i = 0; i < TILE; i++) acc[i][0] = b0, acc[i][1] = b1;
  tile_add(acc, args->x + row * INPUTS, INPUTS, 1, ws->in[panel][0], INPUTS);
  tile_add(acc, ws->h[row], STATE, 1, ws->in[panel][INPUTS], UNITS);
  tile_store(ws->tape[panel] + row, acc);
  int64_t u = panel / 2 * LANES;
  for (int64_t r = row; r < row + TILE; r++) {
    float *z = ws->tape[panel][r];
    vf first = sigmoid(load(z)), second = panel & 1 ? sigmoid(load(z + LANES)) : tanh_(load(z + LANES));
    store(z, first);
    store(z + LANES, second);
    if (panel & 1) {
      const float *ig = ws->tape[panel - 1][r];
      vf c = fma_(first, load(ws->c[r] + u), load(ig) * load(ig + LANES)), th = tanh_(c);
      store(ws->c[r + BATCH] + u, c);
      store(ws->tanh_c[r] + u, th);
      store(ws->h[r + BATCH] + u, second * th);
    }
  }
}

/* Cotangents of the gates of one row and 16 units from that of h; the carried dc moves from t to t-1. */
INLINE void gate_cotangents(workspace *ws, int64_t row, int64_t u, vf dh) {
  float *ig = ws->tape[u / LANES * 2][row], *fo = ws->tape[u / LANES * 2 + 1][row], *carry = ws->dc[row % BATCH] + u;
  vf i = load(ig), g = load(ig + LANES), f = load(fo), o = load(fo + LANES), th = load(ws->tanh_c[row] + u);
  vf one = splat(1.0f), dho = dh * o;
  vf dc = fma_(dho, fnma(th, th, one), load(carry)), dci = dc * i, dcf = dc * f;
  store(ig, dci * g * (one - i));
  store(ig + LANES, dci * fnma(g, g, one));
  store(fo, dcf * load(ws->c[row] + u) * (one - f));
  store(fo + LANES, dho * th * (one - o));
  store(carry, dcf);
}

/* dh[t-1] of 16 rows and 32 units from the cotangents of step t; it is used up at once and leaves no trace. */
INLINE void backward_block(workspace *ws, int64_t row, int64_t n) {
  float dh[BLOCK][WIDE] ALIGNED = {{0}};
  for (int64_t k = 0; k < GATES; k += DEPTH)
    for (int64_t i = 0; i < BLOCK; i += TILE) {
      vf acc[TILE][2];
      tile_load(acc, dh + i);
      for (int64_t panel = k / WIDE; panel < (k + DEPTH) / WIDE; panel++)
        tile_add(acc, ws->tape[panel][row + i], WIDE, 1, ws->out[n][panel * WIDE], WIDE);
      tile_store(dh + i, acc);
    }
  for (int64_t i = 0; i < BLOCK; i++) {
    gate_cotangents(ws, row - BATCH + i, n * WIDE, load(dh[i]));
    gate_cotangents(ws, row - BATCH + i, n * WIDE + LANES, load(dh[i] + LANES));
  }
}

/* The readout of 16 sequences: loss, gradients of wo and bo, and the gate cotangents of the last step. */
INLINE void readout(const step_args *args, workspace *ws, int64_t block) {
  float squares = 0, dbo = 0;
  memset(ws->dwo[block], 0, sizeof ws->dwo[block]);
  for (int64_t s = block * BLOCK; s < (block + 1) * BLOCK; s++) {
    const float *h = ws->h[STEPS * BATCH + s];
    vf sum = {0};
    for (int64_t u = 0; u < UNITS; u += LANES) sum = fma_(load(h + u), load(args->wo + u), sum);
    float e = sum_lanes(sum) + args->bo[0] - args->y[s], dp = e * (2.0f / BATCH);
    squares = __builtin_fmaf(e, e, squares);
    dbo += dp;
    for (int64_t u = 0; u < UNITS; u += LANES) {
      float *dwo = ws->dwo[block] + u;
      store(dwo, fma_(splat(dp), load(h + u), load(dwo)));
      gate_cotangents(ws, (STEPS - 1) * BATCH + s, u, splat(dp) * load(args->wo + u));
    }
  }
  ws->squares[block] = squares;
  ws->dbo[block] = dbo;
}

/* Chunk: 16 sequences through all of time and back. */
static void sequences(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *t = argument;
  workspace *ws = t->ws;
  (void)worker;
  for (int64_t block = begin; block < end; block++) {
    int64_t s = block * BLOCK;
    memset(ws->h[s], 0, BLOCK * sizeof ws->h[0]);
    memset(ws->c[s], 0, BLOCK * sizeof ws->c[0]);
    memset(ws->dc[s], 0, BLOCK * sizeof ws->dc[0]);
    for (int64_t step = 0; step < STEPS; step++)
      for (int64_t panel = 0; panel < PANELS; panel++)
        for (int64_t i = 0; i < BLOCK; i += TILE) forward_tile(t->args, ws, step * BATCH + s + i, panel);
    readout(t->args, ws, block);
    for (int64_t step = STEPS - 1; step > 0; step--)
      for (int64_t n = 0; n < OUT_PANELS; n++) backward_block(ws, step * BATCH + s, n);
  }
}

/* dw[panel, m to m+7] += (x, h)[k to k+DEPTH-1, m to m+7]^T tape[panel, k to k+DEPTH-1] */
INLINE void weight_tile(const step_args *args, workspace *ws, int64_t panel, int64_t m, int64_t k) {
  vf acc[TILE][2];
  tile_load(acc, ws->dw[panel] + m);
  if (m < INPUTS)
    tile_add(acc, args->x + k * INPUTS + m, 1, INPUTS, ws->tape[panel][k], DEPTH);
  else
    tile_add(acc, ws->h[k] + m - INPUTS, 1, STATE, ws->tape[panel][k], DEPTH);
  tile_store(ws->dw[panel] + m, acc);
}

/* Chunk: the columns of wx, wh and b in a group of panels.  The contracted axis is the outermost, so that x, h and the
 * tape, which do not fit L2 together, are read once a group, and only the sums stay. */
static void update(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *t = argument;
  const step_args *args = t->args;
  workspace *ws = t->ws;
  (void)worker;
  for (int64_t first = begin * GROUP; first < end * GROUP; first += GROUP) {
    memset(ws->dw[first], 0, GROUP * sizeof ws->dw[0]);
    vf db[GROUP][2] = {{{0}}};
    for (int64_t k = 0; k < ROWS; k += DEPTH)
      for (int64_t p = 0; p < GROUP; p++) {
        for (int64_t m = 0; m < INPUTS + UNITS; m += TILE) weight_tile(args, ws, first + p, m, k);
        for (int64_t r = k; r < k + DEPTH; r++) {
          db[p][0] += load(ws->tape[first + p][r]);
          db[p][1] += load(ws->tape[first + p][r] + LANES);
        }
      }
    for (int64_t panel = first; panel < first + GROUP; panel++) {
      int64_t c0 = first_column(panel), c1 = second_column(panel);
      for (int64_t m = 0; m < INPUTS + UNITS; m++) {
        float *w = m < INPUTS ? args->wx + m * GATES : args->wh + (m - INPUTS) * GATES;
        store(w + c0, fnma(splat(RATE), load(ws->dw[panel][m]), load(w + c0)));
        store(w + c1, fnma(splat(RATE), load(ws->dw[panel][m] + LANES), load(w + c1)));
      }
      store(args->b + c0, fnma(splat(RATE), db[panel - first][0], load(args->b + c0)));
      store(args->b + c1, fnma(splat(RATE), db[panel - first][1], load(args->b + c1)));
    }
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
  parallel_for(context, pack, &all, PANELS + OUT_PANELS);
  parallel_for(context, sequences, &all, BLOCKS);
  parallel_for(context, update, &all, PANELS / GROUP);
  float squares = 0, dbo = 0;
  for (int64_t k = 0; k < BLOCKS; k++) squares += ws->squares[k], dbo += ws->dbo[k];
  args->loss[0] = squares / BATCH;
  args->bo[0] = __builtin_fmaf(-RATE, dbo, args->bo[0]);
  for (int64_t u = 0; u < UNITS; u += LANES) {
    vf sum = {0};
    for (int64_t k = 0; k < BLOCKS; k++) sum += load(ws->dwo[k] + u);
    store(args->wo + u, fnma(splat(RATE), sum, load(args->wo + u)));
  }
  return ADJOINT_OK;
}
