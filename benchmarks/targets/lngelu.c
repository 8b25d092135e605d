/* x[4096,1024] -> layer-norm (scale g, bias b) -> gelu, tanh form -> mean of (. - y)^2; g and b are trained.
 *
 * The cotangent of the loss, 2 (o - y) / n, needs nothing that comes after its own element, so each element goes
 * through forward and backward at once and x and y are read a single time.  The rows are cut into CHUNKS fixed chunks,
 * each with its own partial sums of dg, db and the loss; a second region adds them in a fixed order and updates. */
#include "target.h"

enum { ROWS = 4096, WIDTH = 1024, CHUNKS = 64, CHUNK_ROWS = ROWS / CHUNKS };
enum { SLICE = 128, SLICES = WIDTH / SLICE };
#define EPSILON 1e-5f
#define RATE 0.01f

typedef struct {
  const float *x; /* [ROWS, WIDTH] */
  const float *y; /* [ROWS, WIDTH] */
  float *g;       /* [WIDTH] */
  float *b;       /* [WIDTH] */
  float *loss;    /* [1] */
} step_args;

typedef struct {
  float dg[CHUNKS][WIDTH] ALIGNED;
  float db[CHUNKS][WIDTH] ALIGNED;
  float loss[CHUNKS] ALIGNED;
} workspace_layout;

typedef struct {
  const step_args *args;
  workspace_layout *ws;
} task_data;

typedef struct {
  vf scale, shift; /* normalised = x * scale + shift */
} row_statistics;

/* The mean first, then the squares about it: the row is in L1 for the second look. */
INLINE row_statistics statistics(const float *x) {
  vf s[4] = {{0}};
  for (int i = 0; i < WIDTH; i += 4 * LANES) {
    UNROLL(4)
    for (int j = 0; j < 4; j++) s[j] += load(x + i + j * LANES);
  }
  float mean = sum_lanes((s[0] + s[1]) + (s[2] + s[3])) * (1.0f / WIDTH);
  vf q[4] = {{0}};
  for (int i = 0; i < WIDTH; i += 4 * LANES) {
    UNROLL(4)
    for (int j = 0; j < 4; j++) {
      vf d = load(x + i + j * LANES) - splat(mean);
      q[j] = fma_(d, d, q[j]);
    }
  }
  float variance = sum_lanes((q[0] + q[1]) + (q[2] + q[3])) * (1.0f / WIDTH);
  float inverse = 1.0f / __builtin_sqrtf(variance + EPSILON);
  return (row_statistics){splat(inverse), splat(-mean * inverse)};
}

/* gelu(h) = h s with s = (1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2/pi) (h + 0.044715 h^3).  The factor -2 log2(e)
 * goes into the coefficients of u, so that e^-2u = 2^t needs no reduction by ln(2); the error of t is that of u. */
#define U1 0.7978845608028654f
#define U3 (0.044715f * U1)
#define T1 (-2.0f * LOG2_E * U1)
#define T3 (-2.0f * LOG2_E * U3)

typedef struct {
  vf error, dh;
} element;

/* o - y, and its product with the derivative of gelu at h. */
INLINE element gelu_error(vf h, vf y) {
  vf h2 = h * h;
  vf t = h * fma_(h2, splat(T3), splat(T1));
  t = maximum(minimum(t, splat(120.0f)), splat(-120.0f));
  vf shifted = t + splat(ROUND_SHIFT);
  vf f = t - (shifted - splat(ROUND_SHIFT));
  vf p = fma_(splat(1.5403530e-4f), f, splat(1.3333558e-3f));
  p = fma_(p, f, splat(9.6181291e-3f));
  p = fma_(p, f, splat(5.5504109e-2f));
  p = fma_(p, f, splat(2.4022651e-1f));
  p = fma_(p, f, splat(6.9314718e-1f));
  p = fma_(p, f, splat(1.0f));
  vf e = (vf)((vi)p + ((vi)shifted << 23));
  vf s = splat(1.0f) / (e + splat(1.0f));
  vf o = h * s;
  vf error = o - y;
  vf slope = fma_(fnma(o, s, o), fma_(h2, splat(6.0f * U3), splat(2.0f * U1)), s);
  return (element){error, error * slope};
}

/* Two rows a turn, so that the partial sums are loaded and stored half as often. */
static void rows(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  const float *g = t->args->g, *b = t->args->b;
  (void)worker;
  for (int64_t c = begin; c < end; c++) {
    float *dg = t->ws->dg[c], *db = t->ws->db[c];
    memset(dg, 0, sizeof t->ws->dg[c]);
    memset(db, 0, sizeof t->ws->db[c]);
    vf loss = {0};
    for (int64_t r = c * CHUNK_ROWS; r < (c + 1) * CHUNK_ROWS; r += 2) {
      const float *x0 = t->args->x + r * WIDTH, *x1 = x0 + WIDTH;
      const float *y0 = t->args->y + r * WIDTH, *y1 = y0 + WIDTH;
      row_statistics n0 = statistics(x0), n1 = statistics(x1);
      for (int i = 0; i < WIDTH; i += LANES) {
        /* A row is a page long, where the hardware stops reading ahead. */
        PREFETCH(x1 + WIDTH + i);
        PREFETCH(x1 + 2 * WIDTH + i);
        PREFETCH(y1 + WIDTH + i);
        PREFETCH(y1 + 2 * WIDTH + i);
        vf normal0 = fma_(load(x0 + i), n0.scale, n0.shift), normal1 = fma_(load(x1 + i), n1.scale, n1.shift);
        vf scale = load(g + i), bias = load(b + i);
        element e0 = gelu_error(fma_(normal0, scale, bias), load(y0 + i));
        element e1 = gelu_error(fma_(normal1, scale, bias), load(y1 + i));
        loss = fma_(e0.error, e0.error, loss);
        loss = fma_(e1.error, e1.error, loss);
        store(dg + i, fma_(e1.dh, normal1, fma_(e0.dh, normal0, load(dg + i))));
        store(db + i, load(db + i) + (e0.dh + e1.dh));
      }
    }
    t->ws->loss[c] = sum_lanes(loss);
  }
}

/* p[j..j+SLICE] -= rate * 2 / n * (sum over the chunks of partial), in the order of the chunks, four at a time. */
INLINE void combine(float *p, float (*partial)[WIDTH], int64_t j) {
  const vf rate = splat(RATE * 2.0f / ((float)ROWS * WIDTH));
  for (int64_t i = j; i < j + SLICE; i += LANES) {
    vf s[4] = {{0}};
    for (int c = 0; c < CHUNKS; c += 4) {
      UNROLL(4)
      for (int k = 0; k < 4; k++) s[k] += load(partial[c + k] + i);
    }
    store(p + i, fnma(rate, (s[0] + s[1]) + (s[2] + s[3]), load(p + i)));
  }
}

static void update(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  (void)worker;
  for (int64_t c = begin; c < end; c++) {
    combine(t->args->g, t->ws->dg, c * SLICE);
    combine(t->args->b, t->ws->db, c * SLICE);
  }
}

int32_t step(const step_args *args, void *workspace, adjoint_context *context) {
  task_data task = {args, workspace};
  parallel_for(context, rows, &task, CHUNKS);
  parallel_for(context, update, &task, SLICES);
  float loss = 0.0f;
  for (int c = 0; c < CHUNKS; c++) loss += task.ws->loss[c];
  args->loss[0] = loss * (1.0f / ((float)ROWS * WIDTH));
  return ADJOINT_OK;
}

uint64_t step_workspace(const step_args *args) {
  (void)args;
  return sizeof(workspace_layout);
}
