/* x[64,16,14,14] -> convolution 3x3, padding 1, with bias -> 32 channels -> relu -> max over 2x2 -> mean of (. - t)^2,
 * t[64,32,7,7]; dx is an output, weights and bias are trained.  All arrays of the caller are NCHW.
 *
 * An image goes through everything, forward and backward, while it is in cache, with channels last and a border of
 * zeros: then each of the three convolutions is a contraction whose tile is one row of the picture, its operands are
 * read at literal offsets, and three taps of a row are one contiguous stretch of the depth.  Only two rows of the
 * convolution's result exist at a time; the cotangent of the pooled value goes straight back to where the maximum
 * was. */
#include "target.h"

enum { IMAGES = 64, IN = 16, OUT = 32, SIDE = 14, PADDED = SIDE + 2, PIXELS = SIDE * SIDE, TAPS = 9 };
enum { POOLED = SIDE / 2, POOLED_PIXELS = POOLED * POOLED };
enum { CHUNKS = 16, CHUNK_IMAGES = IMAGES / CHUNKS };
#define RATE 0.01f

typedef struct {
  const float *x; /* [IMAGES, IN, SIDE, SIDE] */
  const float *t; /* [IMAGES, OUT, POOLED, POOLED] */
  float *w;       /* [OUT, IN, 3, 3] */
  float *b;       /* [OUT] */
  float *dx;      /* [IMAGES, IN, SIDE, SIDE]: written only */
  float *loss;    /* [1] */
} step_args;

typedef struct {
  float x[PADDED][PADDED][IN] ALIGNED;
  float dz[PADDED][PADDED][OUT] ALIGNED;
  float z[2][SIDE][OUT] ALIGNED;
  float t[POOLED_PIXELS][OUT] ALIGNED;
} worker_scratch;

typedef struct {
  float w[TAPS][IN][OUT] ALIGNED;
  float wt[TAPS][OUT][IN] ALIGNED; /* transposed, and turned by half a circle */
  float dw[CHUNKS][TAPS][IN][OUT] ALIGNED;
  float db[CHUNKS][OUT] ALIGNED;
  float loss[CHUNKS] ALIGNED;
  worker_scratch worker[TARGET_WORKERS];
} workspace_layout;

typedef struct {
  const step_args *args;
  workspace_layout *ws;
} task_data;

static void pack_weights(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  const float *w = t->args->w;
  (void)worker;
  for (int64_t tap = begin; tap < end; tap++)
    for (int o = 0; o < OUT; o++)
      for (int q = 0; q < IN; q++) {
        float v = w[(o * IN + q) * TAPS + tap];
        t->ws->w[tap][q][o] = v;
        t->ws->wt[TAPS - 1 - tap][o][q] = v;
      }
}

/* c[i][.] += sum over k of a[i * row + k * column] * b[k][32] */
INLINE void multiply(int rows, const float *a, int64_t row, int64_t column, const float *b, int64_t depth, vf c[][2]) {
  for (int64_t k = 0; k < depth; k++) {
    vf b0 = load(b + k * OUT), b1 = load(b + k * OUT + LANES);
    UNROLL(14)
    for (int i = 0; i < rows; i++) {
      vf v = splat(a[i * row + k * column]);
      c[i][0] = fma_(v, b0, c[i][0]);
      c[i][1] = fma_(v, b1, c[i][1]);
    }
  }
}

/* One image, channels last, inside the border.  A row is a vector of 16 pixels a channel, of which two are not its own;
 * the last row starts two earlier, so that nothing beyond the image is read. */
static void image_in(const float *x, float (*to)[PADDED][IN]) {
  for (int y = 0; y < SIDE; y++) {
    int early = y == SIDE - 1 ? 2 : 0;
    vf r[16];
    float pixels[16][IN] ALIGNED;
    UNROLL(16)
    for (int q = 0; q < IN; q++) r[q] = load(x + q * PIXELS + y * SIDE - early);
    transpose(r);
    UNROLL(16)
    for (int i = 0; i < 16; i++) store(pixels[i], r[i]);
    memcpy(to[y + 1][1], pixels[early], sizeof(float[SIDE][IN]));
  }
}

/* The target of one image, channels last; the last of the blocks of 16 pixels overlaps the one before. */
static void target_in(const float *t, float (*to)[OUT]) {
  static const int first[] = {0, 16, 32, POOLED_PIXELS - 16};
  for (int c = 0; c < OUT; c += 16)
    for (int s = 0; s < 4; s++) {
      vf r[16];
      UNROLL(16)
      for (int i = 0; i < 16; i++) r[i] = load(t + (c + i) * POOLED_PIXELS + first[s]);
      transpose(r);
      UNROLL(16)
      for (int i = 0; i < 16; i++) store(&to[first[s] + i][c], r[i]);
    }
}

/* z[SIDE][OUT], row y of the convolution: 14 pixels by 32 channels over a depth of 3 * 48. */
INLINE void convolve_row(const float (*x)[PADDED][IN], const float (*w)[IN][OUT], const float *bias, int y,
                         float (*z)[OUT]) {
  vf c[SIDE][2];
  UNROLL(14)
  for (int i = 0; i < SIDE; i++) {
    c[i][0] = load(bias);
    c[i][1] = load(bias + LANES);
  }
  for (int kh = 0; kh < 3; kh++) multiply(SIDE, x[y + kh][0], IN, 1, w[3 * kh][0], 3 * IN, c);
  UNROLL(14)
  for (int i = 0; i < SIDE; i++) {
    store(z[i], c[i][0]);
    store(z[i] + LANES, c[i][1]);
  }
}

/* Pools one row of windows, takes the loss, and sends the cotangent to the first maximum of each window, unless relu
 * cut it off; dz is the place of the upper left pixel.  At most one of the four numbers is not zero, but which one
 * differs from channel to channel. */
INLINE void pool_row(const float (*z)[SIDE][OUT], const float (*t)[OUT], float *dz, vf loss[2], vf db[2]) {
  const vf scale = splat(2.0f / ((float)IMAGES * OUT * POOLED_PIXELS)), zero = {0};
  for (int x = 0; x < POOLED; x++) {
    UNROLL(2)
    for (int h = 0; h < 2; h++) {
      int c = h * LANES;
      vf z0 = load(&z[0][2 * x][c]), z1 = load(&z[0][2 * x + 1][c]);
      vf z2 = load(&z[1][2 * x][c]), z3 = load(&z[1][2 * x + 1][c]);
      vf top = maximum(maximum(z0, z1), maximum(z2, z3));
      vf error = relu(top) - load(&t[x][c]);
      loss[h] = fma_(error, error, loss[h]);
      vf d = (vf)((vi)(error * scale) & (top > zero));
      db[h] += d;
      vi left = (vi)d, here = left & (z0 == top);
      store(dz + (2 * x) * OUT + c, (vf)here);
      left ^= here;
      here = left & (z1 == top);
      store(dz + (2 * x + 1) * OUT + c, (vf)here);
      left ^= here;
      here = left & (z2 == top);
      store(dz + (PADDED + 2 * x) * OUT + c, (vf)here);
      store(dz + (PADDED + 2 * x + 1) * OUT + c, (vf)(left ^ here));
    }
  }
}

/* Row y of an image to NCHW.  Through memory and in a function of its own: next to the accumulators, the shuffles make
 * clang split these into half vectors. */
static __attribute__((noinline)) void put_row(const float (*pixels)[IN], int y, float *dx) {
  vf r[16];
  r[14] = r[15] = (vf){0};
  UNROLL(14)
  for (int i = 0; i < SIDE; i++) r[i] = load(pixels[i]);
  transpose(r);
  if (y < SIDE - 1) {
    /* The two lanes too many fall on the next row, which is written later. */
    UNROLL(16)
    for (int q = 0; q < IN; q++) store(dx + q * PIXELS + y * SIDE, r[q]);
  } else {
    UNROLL(16)
    for (int q = 0; q < IN; q++) memcpy(dx + q * PIXELS + y * SIDE, &r[q], sizeof(float[SIDE]));
  }
}

/* Rows y and y + 1 of dx: 28 pixels by 16 channels over a depth of 3 * 96.  With 16 channels a vector of weights serves
 * one FMA a pixel, so every FMA has a load of its own; two rows at once keep it from having more. */
INLINE void cotangent_rows(const float (*dz)[PADDED][OUT], const float (*wt)[OUT][IN], int y, float *dx) {
  vf c[SIDE] = {{0}}, d[SIDE] = {{0}};
  float pixels[2][SIDE][IN] ALIGNED;
  for (int kh = 0; kh < 3; kh++) {
    const float *a = dz[y + kh][0], *a1 = dz[y + kh + 1][0], *b = wt[3 * kh][0];
    for (int k = 0; k < 3 * OUT; k++) {
      vf w = load(b + k * IN);
      UNROLL(14)
      for (int i = 0; i < SIDE; i++) {
        c[i] = fma_(splat(a[i * OUT + k]), w, c[i]);
        d[i] = fma_(splat(a1[i * OUT + k]), w, d[i]);
      }
    }
  }
  UNROLL(14)
  for (int i = 0; i < SIDE; i++) {
    store(pixels[0][i], c[i]);
    store(pixels[1][i], d[i]);
  }
  put_row((const float(*)[IN])pixels[0], y, dx);
  put_row((const float(*)[IN])pixels[1], y + 1, dx);
}

/* dw[3 * kh + kw][q][OUT] += x^T . dz over the pixels of an image, 12 of the 48 rows (kw, q) of a kh at a time. */
INLINE void weight_gradient(const float (*x)[PADDED][IN], const float (*dz)[PADDED][OUT], float (*dw)[IN][OUT]) {
  for (int kh = 0; kh < 3; kh++)
    for (int m = 0; m < 3 * IN; m += 12) {
      float *g = dw[3 * kh][0] + m * OUT;
      vf c[12][2];
      UNROLL(12)
      for (int i = 0; i < 12; i++) {
        c[i][0] = load(g + i * OUT);
        c[i][1] = load(g + i * OUT + LANES);
      }
      for (int y = 0; y < SIDE; y++) multiply(12, x[y + kh][0] + m, 1, IN, dz[y + 1][1], SIDE, c);
      UNROLL(12)
      for (int i = 0; i < 12; i++) {
        store(g + i * OUT, c[i][0]);
        store(g + i * OUT + LANES, c[i][1]);
      }
    }
}

static void images(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  const step_args *args = t->args;
  workspace_layout *ws = t->ws;
  worker_scratch *own = &ws->worker[worker];
  const float(*x)[PADDED][IN] = (const float(*)[PADDED][IN])own->x;
  const float(*dz)[PADDED][OUT] = (const float(*)[PADDED][OUT])own->dz;
  /* Only the borders have to be zero; everything inside is overwritten by each image. */
  memset(own->x, 0, sizeof own->x);
  memset(own->dz, 0, sizeof own->dz);
  for (int64_t c = begin; c < end; c++) {
    vf loss[2] = {{0}}, db[2] = {{0}};
    memset(ws->dw[c], 0, sizeof ws->dw[c]);
    for (int64_t n = c * CHUNK_IMAGES; n < (c + 1) * CHUNK_IMAGES; n++) {
      image_in(args->x + n * IN * PIXELS, own->x);
      target_in(args->t + n * OUT * POOLED_PIXELS, own->t);
      for (int y = 0; y < SIDE; y += 2) {
        for (int i = 0; i < 2; i++)
          convolve_row(x, (const float(*)[IN][OUT])ws->w, args->b, y + i, own->z[i]);
        pool_row((const float(*)[SIDE][OUT])own->z, (const float(*)[OUT])own->t + y / 2 * POOLED,
                 own->dz[y + 1][1], loss, db);
      }
      for (int y = 0; y < SIDE; y += 2)
        cotangent_rows(dz, (const float(*)[OUT][IN])ws->wt, y, args->dx + n * IN * PIXELS);
      weight_gradient(x, dz, ws->dw[c]);
    }
    store(ws->db[c], db[0]);
    store(ws->db[c] + LANES, db[1]);
    ws->loss[c] = sum_lanes(loss[0] + loss[1]);
  }
}

/* Adds the partial gradients of a tap in the order of the chunks and updates its weights. */
static void update(const void *task, int64_t begin, int64_t end, int32_t worker) {
  const task_data *t = task;
  (void)worker;
  for (int64_t tap = begin; tap < end; tap++)
    for (int q = 0; q < IN; q++) {
      vf s[2] = {{0}};
      float g[OUT] ALIGNED;
      for (int c = 0; c < CHUNKS; c++) {
        s[0] += load(t->ws->dw[c][tap][q]);
        s[1] += load(t->ws->dw[c][tap][q] + LANES);
      }
      store(g, s[0]);
      store(g + LANES, s[1]);
      for (int o = 0; o < OUT; o++) t->args->w[(o * IN + q) * TAPS + tap] -= RATE * g[o];
    }
}

int32_t step(const step_args *args, void *workspace, adjoint_context *context) {
  task_data task = {args, workspace};
  workspace_layout *ws = workspace;
  parallel_for(context, pack_weights, &task, TAPS);
  parallel_for(context, images, &task, CHUNKS);
  parallel_for(context, update, &task, TAPS);
  float loss = 0.0f;
  vf db[2] = {{0}};
  for (int c = 0; c < CHUNKS; c++) {
    loss += ws->loss[c];
    db[0] += load(ws->db[c]);
    db[1] += load(ws->db[c] + LANES);
  }
  for (int h = 0; h < 2; h++) {
    float *b = args->b + h * LANES;
    store(b, fnma(splat(RATE), db[h], load(b)));
  }
  args->loss[0] = loss * (1.0f / ((float)IMAGES * OUT * POOLED_PIXELS));
  return ADJOINT_OK;
}

uint64_t step_workspace(const step_args *args) {
  (void)args;
  return sizeof(workspace_layout);
}
