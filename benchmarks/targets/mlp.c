/* x[128,784] -> 512 relu -> 512 relu -> 10, mean softmax cross-entropy with labels; forward, backward and update.
 *
 * Four parallel regions, no packing region and no barrier inside one:
 *   forward1, forward2   a chunk makes 32 columns of a hidden layer and packs the weights of those alone
 *   head                 a chunk takes 16 rows through logits, loss and its cotangent down to dz2
 *   backward             a chunk owns 32 units of hidden layer 1: it reads their rows of w2 for dh1, updates these
 *                        rows, masks dh1 into dz1 and updates their columns of w1
 * In every contraction one operand is read where it lies, a number at a time with strides known when compiling, and
 * only the other one comes in panels [depth][32].  dh1 is made transposed, w2 . dz2^T, so that w2 is the one read in
 * place. */
#include "target.h"

enum { BATCH = 128, IN = 784, HIDDEN = 512, CLASSES = 10 };
enum { PANEL = 32, PANELS = HIDDEN / PANEL, BATCH_PANELS = BATCH / PANEL, HEAD_ROWS = 16, HEADS = BATCH / HEAD_ROWS };
/* Rows of 512 floats, 2048 bytes, would all fall into the same few sets of the cache. */
enum { STRIDE = HIDDEN + LANES };
/* Depth of a packed block: 25 and 32 KB, which stay in L1 for all row tiles. */
enum { DEPTH1 = IN / 4, DEPTH2 = HIDDEN / 2, DEPTH = DEPTH2 };
#define RATE 0.01f

typedef struct {
  const float *x;       /* [BATCH, IN] */
  const int64_t *label; /* [BATCH] */
  float *w1;            /* [IN, HIDDEN] */
  float *b1;            /* [HIDDEN] */
  float *w2;            /* [HIDDEN, HIDDEN] */
  float *b2;            /* [HIDDEN] */
  float *w3;            /* [HIDDEN, CLASSES] */
  float *b3;            /* [CLASSES] */
  float *loss;          /* [1] */
} step_args;

typedef struct {
  float panel[DEPTH][PANEL] ALIGNED; /* weights of one column panel, one block of the depth */
  float dh1t[PANEL][BATCH] ALIGNED;
  float dz1[BATCH][PANEL] ALIGNED;
  float dz2[HEAD_ROWS][STRIDE] ALIGNED;
} worker_scratch;

typedef struct {
  float h1[BATCH][STRIDE] ALIGNED;
  float h2[BATCH][STRIDE] ALIGNED;
  float dz2[PANELS][BATCH][PANEL] ALIGNED;         /* panels for w2's gradient */
  float dz2t[BATCH_PANELS][HIDDEN][PANEL] ALIGNED; /* the same transposed, panels for dh1 */
  float dlogits[BATCH][LANES] ALIGNED;
  float w3[HIDDEN][LANES] ALIGNED; /* rows padded to a vector */
  float w3t[CLASSES][HIDDEN] ALIGNED;
  float loss[HEADS] ALIGNED;
  int64_t bad[HEADS]; /* row of the first label out of range, else -1 */
  worker_scratch worker[TARGET_WORKERS];
} workspace_layout;

typedef struct {
  const step_args *args;
  workspace_layout *ws;
} task_data;

/* c[i][.] += sum over k of a[i * row + k * column] * b[k][.], `rows` by 32.  A broadcast goes into a register and
 * serves two FMAs; as a memory operand of each it would make the load ports the bound. */
INLINE void multiply(int rows, const float *a, int64_t row, int64_t column, const float *b, int64_t depth, vf c[][2]) {
  for (int64_t k = 0; k < depth; k++) {
    vf b0 = load(b + k * PANEL), b1 = load(b + k * PANEL + LANES);
    UNROLL(14)
    for (int i = 0; i < rows; i++) {
      vf v = splat(a[i * row + k * column]);
      c[i][0] = fma_(v, b0, c[i][0]);
      c[i][1] = fma_(v, b1, c[i][1]);
    }
  }
}

/* out[BATCH][32] = relu(a[BATCH, in] . w[in, 32] + bias), with w the column panel at `w` of a [in, HIDDEN] matrix.
 * A block of w is packed, which leaves it in L1, and every tile of 8 rows then meets it there; while these run, the
 * next block is fetched into L2. */
INLINE void forward_panel(const float *a, int64_t row, int in, int depth, const float *w, const float *bias, float *out,
                          float (*panel)[PANEL]) {
  for (int k0 = 0; k0 < in; k0 += depth) {
    for (int k = 0; k < depth; k++) {
      store(panel[k], load(w + (int64_t)(k0 + k) * HIDDEN));
      store(panel[k] + LANES, load(w + (int64_t)(k0 + k) * HIDDEN + LANES));
    }
    for (int r = 0; r < BATCH; r += 8) {
      vf c[8][2];
      float *o = out + r * STRIDE;
      if (k0 + depth < in) {
        const float *next = w + (int64_t)(k0 + depth + r * depth / BATCH) * HIDDEN;
        for (int k = 0; k < depth * 8 / BATCH; k++) {
          __builtin_prefetch(next + k * HIDDEN, 0, 2);
          __builtin_prefetch(next + k * HIDDEN + LANES, 0, 2);
        }
      }
      UNROLL(8)
      for (int i = 0; i < 8; i++) {
        c[i][0] = k0 ? load(o + i * STRIDE) : load(bias);
        c[i][1] = k0 ? load(o + i * STRIDE + LANES) : load(bias + LANES);
      }
      multiply(8, a + r * row + k0, row, 1, panel[0], depth, c);
      int last = k0 + depth == in;
      UNROLL(8)
      for (int i = 0; i < 8; i++) {
        store(o + i * STRIDE, last ? relu(c[i][0]) : c[i][0]);
        store(o + i * STRIDE + LANES, last ? relu(c[i][1]) : c[i][1]);
      }
    }
  }
}

static void forward1(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  workspace_layout *ws = t->ws;
  for (int64_t c = begin; c < end; c++) {
    int64_t n = c * PANEL;
    forward_panel(t->args->x, IN, IN, DEPTH1, t->args->w1 + n, t->args->b1 + n, &ws->h1[0][n],
                  ws->worker[worker].panel);
    /* A share of the last weights, for `head`: padded, and transposed. */
    for (int64_t k = n; k < n + PANEL; k++) {
      store(ws->w3[k], (vf){0});
      for (int j = 0; j < CLASSES; j++) ws->w3[k][j] = ws->w3t[j][k] = t->args->w3[k * CLASSES + j];
    }
  }
}

static void forward2(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  workspace_layout *ws = t->ws;
  for (int64_t c = begin; c < end; c++) {
    int64_t n = c * PANEL;
    forward_panel(ws->h1[0], STRIDE, HIDDEN, DEPTH2, t->args->w2 + n, t->args->b2 + n, &ws->h2[0][n],
                  ws->worker[worker].panel);
  }
}

/* Rows first..first+15: logits, their softmax cross-entropy, dlogits.  Lanes beyond CLASSES hold a logit so low that
 * its exponential is 0. */
static void head_loss(const step_args *args, workspace_layout *ws, int64_t first, int64_t c) {
  vf z[HEAD_ROWS];
  float padded[LANES] ALIGNED;
  for (int j = 0; j < LANES; j++) padded[j] = j < CLASSES ? args->b3[j] : -1e30f;
  UNROLL(16)
  for (int i = 0; i < HEAD_ROWS; i++) z[i] = load(padded);
  for (int k = 0; k < HIDDEN; k++) {
    vf w = load(ws->w3[k]);
    UNROLL(16)
    for (int i = 0; i < HEAD_ROWS; i++) z[i] = fma_(splat(ws->h2[first + i][k]), w, z[i]);
  }
  /* An index that is not a constant would keep z in memory all through the loop above. */
  float logits[HEAD_ROWS][LANES] ALIGNED;
  UNROLL(16)
  for (int i = 0; i < HEAD_ROWS; i++) store(logits[i], z[i]);
  float loss = 0.0f;
  ws->bad[c] = -1;
  for (int i = 0; i < HEAD_ROWS; i++) {
    int64_t label = args->label[first + i];
    if (label < 0 || label >= CLASSES) {
      ws->bad[c] = first + i;
      return;
    }
    vf row = load(logits[i]);
    float top = max_lanes(row);
    vf e = exp_nonpositive(row - splat(top));
    float sum = sum_lanes(e);
    store(ws->dlogits[first + i], e * splat(1.0f / (sum * BATCH)));
    ws->dlogits[first + i][label] -= 1.0f / BATCH;
    loss += log_positive(sum) + (top - logits[i][label]);
  }
  ws->loss[c] = loss;
}

/* dz2 = (dlogits . w3^T) where h2 > 0, into both of its layouts. */
static void head_cotangent(workspace_layout *ws, int64_t first, float (*dz2)[STRIDE]) {
  for (int n = 0; n < HIDDEN; n += PANEL)
    for (int r = 0; r < HEAD_ROWS; r += 8) {
      vf c[8][2] = {{{0}}};
      for (int j = 0; j < CLASSES; j++) {
        vf w0 = load(&ws->w3t[j][n]), w1 = load(&ws->w3t[j][n + LANES]);
        UNROLL(8)
        for (int i = 0; i < 8; i++) {
          vf d = splat(ws->dlogits[first + r + i][j]);
          c[i][0] = fma_(d, w0, c[i][0]);
          c[i][1] = fma_(d, w1, c[i][1]);
        }
      }
      UNROLL(8)
      for (int i = 0; i < 8; i++) {
        const float *h = &ws->h2[first + r + i][n];
        float *panel = ws->dz2[n / PANEL][first + r + i];
        vf d0 = (vf)((vi)c[i][0] & (load(h) > 0.0f)), d1 = (vf)((vi)c[i][1] & (load(h + LANES) > 0.0f));
        store(panel, d0);
        store(panel + LANES, d1);
        store(&dz2[r + i][n], d0);
        store(&dz2[r + i][n + LANES], d1);
      }
    }
  float (*t)[PANEL] = ws->dz2t[first / PANEL];
  int64_t at = first % PANEL;
  for (int n = 0; n < HIDDEN; n += LANES) {
    vf r[16];
    UNROLL(16)
    for (int i = 0; i < 16; i++) r[i] = load(&dz2[i][n]);
    transpose(r);
    UNROLL(16)
    for (int i = 0; i < 16; i++) store(&t[n + i][at], r[i]);
  }
}

static void head(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  for (int64_t c = begin; c < end; c++) {
    head_loss(t->args, t->ws, c * HEAD_ROWS, c);
    if (t->ws->bad[c] < 0) head_cotangent(t->ws, c * HEAD_ROWS, t->ws->worker[worker].dz2);
  }
}

/* `rows` by 32 of a weight matrix: w -= rate * (a^T . d), where a^T is read in place, its row numbers side by side. */
INLINE void update_tile(int rows, const float *a, int64_t stride, const float *d, float *w) {
  vf c[14][2];
  UNROLL(14)
  for (int i = 0; i < rows; i++) {
    c[i][0] = c[i][1] = (vf){0};
    PREFETCH_WRITE(w + i * HIDDEN);
    PREFETCH_WRITE(w + i * HIDDEN + LANES);
  }
  /* The lines of a that the next tile needs first are in L2: its rows are further apart than the hardware looks. */
  for (int64_t k = 0; k < BATCH; k++) {
    PREFETCH(a + k * stride + 2 * rows - 1);
    multiply(rows, a + k * stride, 1, stride, d + k * PANEL, 1, c);
  }
  UNROLL(14)
  for (int i = 0; i < rows; i++) {
    store(w + i * HIDDEN, fnma(splat(RATE), c[i][0], load(w + i * HIDDEN)));
    store(w + i * HIDDEN + LANES, fnma(splat(RATE), c[i][1], load(w + i * HIDDEN + LANES)));
  }
}

/* b[0..31] -= rate * column sums of d[BATCH][32] */
INLINE void update_bias(const float (*d)[PANEL], float *b) {
  vf s[2][2] = {{{0}}};
  for (int r = 0; r < BATCH; r += 2) {
    s[0][0] += load(d[r]);
    s[0][1] += load(d[r] + LANES);
    s[1][0] += load(d[r + 1]);
    s[1][1] += load(d[r + 1] + LANES);
  }
  store(b, fnma(splat(RATE), s[0][0] + s[1][0], load(b)));
  store(b + LANES, fnma(splat(RATE), s[0][1] + s[1][1], load(b + LANES)));
}

/* dh1t[32][BATCH] = w2[n..n+31, :] . dz2^T */
static void hidden_cotangent(const workspace_layout *ws, const float *w2, float (*dh1t)[BATCH]) {
  for (int p = 0; p < BATCH_PANELS; p++)
    for (int k0 = 0; k0 < HIDDEN; k0 += DEPTH2)
      for (int r = 0; r < PANEL; r += 8) {
        vf c[8][2];
        float *o = &dh1t[r][p * PANEL];
        UNROLL(8)
        for (int i = 0; i < 8; i++) {
          c[i][0] = k0 ? load(o + i * BATCH) : (vf){0};
          c[i][1] = k0 ? load(o + i * BATCH + LANES) : (vf){0};
        }
        multiply(8, w2 + r * HIDDEN + k0, HIDDEN, 1, ws->dz2t[p][k0], DEPTH2, c);
        UNROLL(8)
        for (int i = 0; i < 8; i++) {
          store(o + i * BATCH, c[i][0]);
          store(o + i * BATCH + LANES, c[i][1]);
        }
      }
}

/* w3[n..n+31, :] -= rate * h2^T . dlogits */
static void update_head(const workspace_layout *ws, int64_t n, float *w3) {
  for (int64_t m = n; m < n + PANEL; m += 16) {
    vf c[16] = {{0}};
    for (int k = 0; k < BATCH; k++) {
      vf d = load(ws->dlogits[k]);
      UNROLL(16)
      for (int i = 0; i < 16; i++) c[i] = fma_(splat(ws->h2[k][m + i]), d, c[i]);
    }
    float g[16][LANES] ALIGNED;
    UNROLL(16)
    for (int i = 0; i < 16; i++) store(g[i], c[i]);
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < CLASSES; j++) w3[(m + i) * CLASSES + j] -= RATE * g[i][j];
  }
}

/* dz1[BATCH][32] = dh1t^T where h > 0, by blocks of 16; masked as vectors, for one number at a time it would be a
 * branch that nobody can predict. */
static __attribute__((noinline)) void mask_transposed(const float (*dh1t)[BATCH], const float *h, float (*dz1)[PANEL]) {
  for (int b = 0; b < BATCH; b += LANES)
    for (int j = 0; j < PANEL; j += LANES) {
      vf r[16];
      UNROLL(16)
      for (int i = 0; i < 16; i++) r[i] = load(&dh1t[j + i][b]);
      transpose(r);
      UNROLL(16)
      for (int i = 0; i < 16; i++)
        store(&dz1[b + i][j], (vf)((vi)r[i] & (load(h + (b + i) * STRIDE + j) > 0.0f)));
    }
}

static void backward(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  const step_args *args = t->args;
  workspace_layout *ws = t->ws;
  worker_scratch *own = &ws->worker[worker];
  for (int64_t c = begin; c < end; c++) {
    int64_t n = c * PANEL;
    hidden_cotangent(ws, args->w2 + n * HIDDEN, own->dh1t);
    for (int p = 0; p < PANELS; p++)
      for (int64_t m = n; m < n + PANEL; m += 8)
        update_tile(8, &ws->h1[0][m], STRIDE, ws->dz2[p][0], args->w2 + m * HIDDEN + p * PANEL);
    mask_transposed((const float(*)[BATCH])own->dh1t, &ws->h1[0][n], own->dz1);
    for (int m = 0; m < IN; m += 14) update_tile(14, args->x + m, IN, own->dz1[0], args->w1 + (int64_t)m * HIDDEN + n);
    update_bias((const float(*)[PANEL])own->dz1, args->b1 + n);
    update_bias((const float(*)[PANEL])ws->dz2[c], args->b2 + n);
    update_head(ws, n, args->w3);
  }
}

int32_t step(const step_args *args, void *workspace, adjoint_context *context) {
  task_data task = {args, workspace};
  workspace_layout *ws = workspace;
  parallel_for(context, forward1, &task, PANELS);
  parallel_for(context, forward2, &task, PANELS);
  parallel_for(context, head, &task, HEADS);
  float loss = 0.0f;
  for (int c = 0; c < HEADS; c++) {
    if (ws->bad[c] >= 0) {
      /* Nothing has been updated yet. */
      if (context) {
        context->status = ADJOINT_CHECK;
        context->value = args->label[ws->bad[c]];
        context->bound = CLASSES;
      }
      return ADJOINT_CHECK;
    }
    loss += ws->loss[c];
  }
  args->loss[0] = loss * (1.0f / BATCH);
  parallel_for(context, backward, &task, PANELS);
  vf s = {0};
  for (int r = 0; r < BATCH; r++) s += load(ws->dlogits[r]);
  for (int j = 0; j < CLASSES; j++) args->b3[j] -= RATE * s[j];
  return ADJOINT_OK;
}

uint64_t step_workspace(const step_args *args) {
  (void)args;
  return sizeof(workspace_layout);
}
