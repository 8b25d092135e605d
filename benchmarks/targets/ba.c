/* Bundle adjustment as in ADBench: the reprojection error of every observation and its Jacobian, float64.
 *
 *   y = R(rot) (X - C)     (a, b) = y[0:2] / y[2]     r = a^2 + b^2     d = 1 + k1 r + k2 r^2
 *   error = w (f d (a, b) + (x0, y0) - feature)
 *
 * A camera is [rot 3, C 3, f, x0, y0, k1, k2].  Each observation picks a camera and a point by index; its block of the
 * Jacobian is 2 rows of 11 + 3 + 1 columns.  The lanes of a vector are observations.
 *
 * There are a hundred times fewer cameras than observations, so what depends on the camera alone, with the sine and
 * cosine in it, is computed once a camera into a table, and the table is gathered. */
#include "target.h"

#include <math.h>

enum {
  CAMERA = 11,
  POINT = 3,
  COLUMNS = CAMERA + POINT + 1,
  OUTPUTS = 2 * COLUMNS,
  WIDTH = 8,   /* lanes */
  GROUPS = 64, /* vectors of observations in a chunk */
  CHUNK = GROUPS * WIDTH
};

typedef double vd __attribute__((vector_size(64)));
typedef int64_t vl __attribute__((vector_size(64)));

typedef struct {
  const double *cameras;    /* [cameras, 11] */
  const double *points;     /* [points, 3] */
  const double *weights;    /* [observations] */
  const double *features;   /* [observations, 2] */
  const int32_t *picks;     /* [observations, 2]: camera, point */
  double *errors;           /* [observations, 2] */
  double *jacobian;         /* [observations, 2, 15] */
  int64_t count_cameras, count_points, count;
} step_args;

/* Rodrigues' formula without a division by the angle: with c = cos, s = sin(angle)/angle, v = (1 - cos)/angle^2,
 *   y = c p + s (rot x p) + v rot (rot . p),
 * and the derivatives of c, s, v by rot are -s rot, ds rot and dv rot.  A row is two vectors of lanes. */
enum {
  ROT = 0,
  COS = 3,
  SINC = 4,
  VERSINE = 5,
  D_SINC = 6,
  D_VERSINE = 7,
  CENTRE = 8,
  FOCAL = 11,
  PRINCIPAL = 12,
  RADIAL = 14,
  ROW = 16
};

typedef struct {
  const step_args *args;
  double *table;            /* [cameras, ROW], 64-byte aligned */
  int64_t *failures;        /* per chunk: 1 + the first observation with an index out of range */
} task;

INLINE vd load8(const double *p) {
  vd r;
  memcpy(&r, p, sizeof r);
  return r;
}

INLINE void store8(double *p, vd x) { memcpy(p, &x, sizeof x); }

INLINE vd all(double x) { return x - (vd){0}; }

INLINE vd fma8(vd a, vd b, vd c) {
  vd r;
  LANES_UNROLLED
  for (int i = 0; i < WIDTH; i++) r[i] = __builtin_fma(a[i], b[i], c[i]);
  return r;
}

/* c - a * b */
INLINE vd fnma8(vd a, vd b, vd c) {
  vd r;
  LANES_UNROLLED
  for (int i = 0; i < WIDTH; i++) r[i] = __builtin_fma(-a[i], b[i], c[i]);
  return r;
}

INLINE vd dot(const vd a[3], const vd b[3]) { return fma8(a[2], b[2], fma8(a[1], b[1], a[0] * b[0])); }

INLINE void cross(vd r[3], const vd a[3], const vd b[3]) {
  r[0] = fnma8(a[2], b[1], a[1] * b[2]);
  r[1] = fnma8(a[0], b[2], a[2] * b[0]);
  r[2] = fnma8(a[1], b[0], a[0] * b[1]);
}

/* Eight rows of eight become eight columns: interleaving row i with row i + 4 three times over. */
#define LOW_HALVES(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_HALVES(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
INLINE void transpose8(vd a[WIDTH]) {
  vd b[WIDTH];
  UNROLL(3)
  for (int round = 0; round < 3; round++) {
    UNROLL(4)
    for (int i = 0; i < WIDTH / 2; i++) {
      b[2 * i] = LOW_HALVES(a[i], a[i + WIDTH / 2]);
      b[2 * i + 1] = HIGH_HALVES(a[i], a[i + WIDTH / 2]);
    }
    UNROLL(8)
    for (int i = 0; i < WIDTH; i++) a[i] = b[i];
  }
}

/* One row of the table.  Below an angle of 1e-2 the quotients cancel and their series take over. */
static void prepare(const double *camera, double *row) {
  double x = camera[0], y = camera[1], z = camera[2];
  double q = __builtin_fma(z, z, __builtin_fma(y, y, x * x)), c, s, v, ds, dv;
  if (q < 1e-4) {
    c = 1 - q / 2 * (1 - q / 12 * (1 - q / 30));
    s = 1 - q / 6 * (1 - q / 20 * (1 - q / 42));
    v = (1 - q / 12 * (1 - q / 30 * (1 - q / 56))) / 2;
    ds = -(1 - q / 10 * (1 - q / 28 * (1 - q / 54))) / 3;
    dv = -(1 - q / 15 * (1 - q / 37.333333333333336 * (1 - q / 67.5))) / 12;
  } else {
    double angle = sqrt(q);
    double half = sin(angle / 2);
    c = cos(angle);
    s = sin(angle) / angle;
    v = 2 * half * half / q;
    ds = (c - s) / q;
    dv = (s - 2 * v) / q;
  }
  double values[ROW] = {x, y, z, c, s, v, ds, dv};
  memcpy(values + CENTRE, camera + 3, (CAMERA - 3) * sizeof *camera);
  memcpy(row, values, sizeof values);
}

/* Chunk: eight cameras. */
static void prepare_all(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *t = argument;
  (void)worker;
  for (int64_t i = begin * WIDTH; i < end * WIDTH && i < t->args->count_cameras; i++)
    prepare(t->args->cameras + i * CAMERA, t->table + i * ROW);
}

/* A negative index counts from the end; the caller has checked the range. */
INLINE int64_t wrap(int64_t index, int64_t count) { return index < 0 ? index + count : index; }

/* Derivatives of one output by rot, C and X from its cotangent (ga, gb, gc) of y. */
INLINE void rotate_back(vd *row, const vd *m, const vd p[3], const vd t[3], vd k, const vd g[3]) {
  vd rg = dot(m + ROT, g), pg = dot(p, g), tg = dot(t, g), pxg[3], gxr[3];
  cross(pxg, p, g);
  cross(gxr, g, m + ROT);
  vd vk = m[VERSINE] * k, vrg = m[VERSINE] * rg;
  vd along = fma8(m[D_VERSINE] * rg, k, fnma8(m[SINC], pg, m[D_SINC] * tg));
  UNROLL(3)
  for (int i = 0; i < 3; i++) {
    vd r = fma8(m[SINC], pxg[i], fma8(vrg, p[i], vk * g[i]));
    row[i] = fma8(along, m[ROT + i], r);
    vd x = fma8(m[COS], g[i], fma8(m[SINC], gxr[i], vrg * m[ROT + i]));
    row[3 + i] = -x;
    row[CAMERA + i] = x;
  }
}

/* Eight observations: errors[8, 2] and jacobian[8, 30]. */
static void group(const task *task, const double *weights, const double *features, const int32_t *picks,
                  double *errors, double *jacobian) {
  const step_args *args = task->args;
  vd m[ROW], p[3];
  const double *x[WIDTH];
  UNROLL(8)
  for (int i = 0; i < WIDTH; i++) {
    const double *row = task->table + wrap(picks[2 * i], args->count_cameras) * ROW;
    m[i] = load8(row);
    m[WIDTH + i] = load8(row + WIDTH);
    x[i] = args->points + wrap(picks[2 * i + 1], args->count_points) * POINT;
  }
  UNROLL(3)
  for (int i = 0; i < 3; i++) p[i] = (vd){x[0][i], x[1][i], x[2][i], x[3][i], x[4][i], x[5][i], x[6][i], x[7][i]};
  transpose8(m);
  transpose8(m + WIDTH);
  vd first = load8(features), second = load8(features + WIDTH), w = load8(weights);
  vd feature0 = __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14);
  vd feature1 = __builtin_shufflevector(first, second, 1, 3, 5, 7, 9, 11, 13, 15);

  UNROLL(3)
  for (int i = 0; i < 3; i++) p[i] -= m[CENTRE + i];
  vd t[3], y[3], k = dot(m + ROT, p);
  cross(t, m + ROT, p);
  UNROLL(3)
  for (int i = 0; i < 3; i++) y[i] = fma8(m[COS], p[i], fma8(m[SINC], t[i], m[VERSINE] * k * m[ROT + i]));
  vd inverse = all(1.0) / y[2], a = y[0] * inverse, b = y[1] * inverse;
  vd r = fma8(a, a, b * b);
  vd slope = fma8(all(2.0) * m[RADIAL + 1], r, m[RADIAL]);
  vd d = fma8(fma8(m[RADIAL + 1], r, m[RADIAL]), r, all(1.0));
  vd da = d * a, db = d * b;
  vd miss0 = fma8(m[FOCAL], da, m[PRINCIPAL]) - feature0, miss1 = fma8(m[FOCAL], db, m[PRINCIPAL + 1]) - feature1;
  vd error0 = w * miss0, error1 = w * miss1;
  store8(errors, LOW_HALVES(error0, error1));
  store8(errors + WIDTH, HIGH_HALVES(error0, error1));

  vd j[OUTPUTS], *j0 = j, *j1 = j + COLUMNS;
  vd wf = w * m[FOCAL], twice = all(2.0) * slope;
  vd g00 = wf * fma8(twice * a, a, d), g01 = wf * (twice * a) * b, g11 = wf * fma8(twice * b, b, d);
  vd g0[3] = {g00 * inverse, g01 * inverse, -fma8(g00, a, g01 * b) * inverse};
  vd g1[3] = {g01 * inverse, g11 * inverse, -fma8(g01, a, g11 * b) * inverse};
  rotate_back(j0, m, p, t, k, g0);
  rotate_back(j1, m, p, t, k, g1);
  j0[6] = w * da, j1[6] = w * db;
  j0[7] = w, j1[7] = (vd){0};
  j0[8] = (vd){0}, j1[8] = w;
  j0[9] = wf * a * r, j1[9] = wf * b * r;
  j0[10] = j0[9] * r, j1[10] = j1[9] * r;
  j0[14] = miss0, j1[14] = miss1;

  /* 30 columns are four squares of 8, of which the last begins two early and writes two columns again. */
  UNROLL(4)
  for (int q = 0; q < 4; q++) {
    int c = q < 3 ? q * WIDTH : OUTPUTS - WIDTH;
    vd square[WIDTH];
    UNROLL(8)
    for (int i = 0; i < WIDTH; i++) square[i] = j[c + i];
    transpose8(square);
    UNROLL(8)
    for (int i = 0; i < WIDTH; i++) store8(jacobian + i * OUTPUTS + c, square[i]);
  }
}

/* The last observations, fewer than eight: the same on padded copies. */
static void rest(const task *t, int64_t n, int64_t count) {
  const step_args *args = t->args;
  double weights[WIDTH], features[2 * WIDTH], errors[2 * WIDTH], jacobian[OUTPUTS * WIDTH];
  int32_t picks[2 * WIDTH];
  for (int64_t i = 0; i < WIDTH; i++) {
    int64_t from = n + (i < count ? i : count - 1);
    weights[i] = args->weights[from];
    memcpy(features + 2 * i, args->features + 2 * from, 2 * sizeof *features);
    memcpy(picks + 2 * i, args->picks + 2 * from, 2 * sizeof *picks);
  }
  group(t, weights, features, picks, errors, jacobian);
  memcpy(args->errors + 2 * n, errors, (size_t)(2 * count) * sizeof *errors);
  memcpy(args->jacobian + OUTPUTS * n, jacobian, (size_t)(OUTPUTS * count) * sizeof *jacobian);
}

/* Chunk: 512 observations.  The indices of a chunk are checked before the first of them is used. */
static void observations(const void *argument, int64_t begin, int64_t end, int32_t worker) {
  const task *t = argument;
  const step_args *args = t->args;
  (void)worker;
  for (int64_t chunk = begin; chunk < end; chunk++) {
    int64_t n = chunk * CHUNK, stop = n + CHUNK < args->count ? n + CHUNK : args->count, bad = 0;
    for (int64_t i = stop - 1; i >= n; i--) {
      int64_t camera = args->picks[2 * i], point = args->picks[2 * i + 1];
      int outside = (camera < -args->count_cameras) | (camera >= args->count_cameras) |
                    (point < -args->count_points) | (point >= args->count_points);
      if (outside) bad = i + 1;
    }
    t->failures[chunk] = bad;
    if (bad) continue;
    for (; n + WIDTH <= stop; n += WIDTH)
      group(t, args->weights + n, args->features + 2 * n, args->picks + 2 * n, args->errors + 2 * n,
            args->jacobian + OUTPUTS * n);
    if (n < stop) rest(t, n, stop - n);
  }
}

static int64_t chunks(const step_args *args) { return (args->count + CHUNK - 1) / CHUNK; }

uint64_t step_workspace(const void *arguments) {
  const step_args *args = arguments;
  return (uint64_t)args->count_cameras * ROW * sizeof(double) + (uint64_t)chunks(args) * sizeof(int64_t);
}

int32_t step(const void *arguments, void *memory, adjoint_context *context) {
  const step_args *args = arguments;
  double *table = memory;
  const task all_of_it = {args, table, (int64_t *)(void *)(table + args->count_cameras * ROW)};
  parallel_for(context, prepare_all, &all_of_it, (args->count_cameras + WIDTH - 1) / WIDTH);
  parallel_for(context, observations, &all_of_it, chunks(args));
  for (int64_t chunk = 0; chunk < chunks(args); chunk++) {
    int64_t bad = all_of_it.failures[chunk] - 1;
    if (bad < 0) continue;
    if (context) {
      int64_t camera = args->picks[2 * bad], in = camera >= -args->count_cameras && camera < args->count_cameras;
      context->status = ADJOINT_CHECK;
      context->value = in ? args->picks[2 * bad + 1] : camera;
      context->bound = in ? args->count_points : args->count_cameras;
    }
    return ADJOINT_CHECK;
  }
  return ADJOINT_OK;
}
