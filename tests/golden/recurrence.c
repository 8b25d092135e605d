/* c[6, 16] = a[6, depth] @ b[depth, 16] */
static void tile_6x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c0_1, c1_0, c1_1, c2_0, c2_1, c3_0, c3_1, c4_0, c4_1, c5_0, c5_1;
  f32x8 b0, b1;
  f32x8 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0;
  c0_0 = f32x8_splat(0.0f);
  c0_1 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c1_1 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c2_1 = f32x8_splat(0.0f);
  c3_0 = f32x8_splat(0.0f);
  c3_1 = f32x8_splat(0.0f);
  c4_0 = f32x8_splat(0.0f);
  c4_1 = f32x8_splat(0.0f);
  c5_0 = f32x8_splat(0.0f);
  c5_1 = f32x8_splat(0.0f);
  ADJOINT_UNROLL(4)
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * panel_stride);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + k * panel_stride + 8);
    b1 = x_2;
    const float c_3 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_3);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
    const float c_4 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_4);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    c1_1 = f32x8_fma(a1_0, b1, c1_1);
    const float c_5 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_5);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    c2_1 = f32x8_fma(a2_0, b1, c2_1);
    const float c_6 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x8_splat(c_6);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    c3_1 = f32x8_fma(a3_0, b1, c3_1);
    const float c_7 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x8_splat(c_7);
    c4_0 = f32x8_fma(a4_0, b0, c4_0);
    c4_1 = f32x8_fma(a4_0, b1, c4_1);
    const float c_8 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x8_splat(c_8);
    c5_0 = f32x8_fma(a5_0, b0, c5_0);
    c5_1 = f32x8_fma(a5_0, b1, c5_1);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride + 8), c1_1);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 2 + 8), c2_1);
  f32x8_store(c + (result_stride * 3), c3_0);
  f32x8_store(c + (result_stride * 3 + 8), c3_1);
  f32x8_store(c + (result_stride * 4), c4_0);
  f32x8_store(c + (result_stride * 4 + 8), c4_1);
  f32x8_store(c + (result_stride * 5), c5_0);
  f32x8_store(c + (result_stride * 5 + 8), c5_1);
}

/* c[1, 16] = a[1, depth] @ b[depth, 16] */
static void tile_1x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  (void)row_stride;
  (void)result_stride;
  f32x8 c0_0, c0_1;
  f32x8 b0, b1;
  f32x8 a0_0;
  c0_0 = f32x8_splat(0.0f);
  c0_1 = f32x8_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * panel_stride);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + k * panel_stride + 8);
    b1 = x_2;
    const float c_3 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_3);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
}

/* packed[1, 9, 16] from w[9, 9] */
KERNEL static void k_packed(float *restrict packed, const float *restrict w, int64_t begin, int64_t end)
{
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k0 = 0; k0 < 9; k0++) {
      for (int64_t z = 0; z < 16; z += 8) {
        f32x8_store(packed + k0 * 16 + z, f32x8_splat(0.0f));
      }
      const int64_t stop_1 = i64_min(16, 9);
      int64_t j = 0;
      for (; j + 8 <= stop_1; j += 8) {
        const f32x8 x_2 = f32x8_load(w + k0 * 9 + j);
        f32x8_store(packed + k0 * 16 + j, x_2);
      }
      if (j < stop_1) {
        const int64_t left_3 = stop_1 - j;
        const f32x8 x_4 = f32x8_load_n(w + k0 * 9 + j, left_3);
        f32x8_store_n(packed + k0 * 16 + j, x_4, left_3);
      }
    }
  }
}

/* carry_1[n, 9] from carry[n, 9], packed[1, 9, 16], step[n, 9] */
KERNEL static void k1_matmul_tanh(const float *restrict carry, const float *restrict packed, const float *restrict step, float *restrict carry_1, int64_t n, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float tile[6 * 16];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const int64_t stop_1 = i64_min(2, ((n) / 6) - chunk * 2);
    for (int64_t r = 0; r < stop_1; r++) {
      tile_6x16(carry + chunk * 108 + r * 54, packed, tile, 9, 9, 1, 16, 16);
      for (int64_t i = 0; i < 6; i++) {
        const f32x8 x_2 = f32x8_load(tile + i * 16);
        const f32x8 x_3 = f32x8_load(step + chunk * 108 + r * 54 + i * 9);
        f32x8_store(carry_1 + chunk * 108 + r * 54 + i * 9, f32x8_tanh(f32x8_add(x_2, x_3)));
        const f32x8 x_4 = f32x8_load(tile + i * 16 + 8);
        const f32x8 x_5 = f32x8_load_n(step + chunk * 108 + r * 54 + i * 9 + 8, 1);
        f32x8_store_n(carry_1 + chunk * 108 + r * 54 + i * 9 + 8, f32x8_tanh(f32x8_add(x_4, x_5)), 1);
      }
    }
    const int64_t stop_6 = i64_min(12, n - chunk * 12);
    for (int64_t rest = ((n) / 6) * 6 - chunk * 12; rest < stop_6; rest++) {
      tile_1x16(carry + chunk * 108 + rest * 9, packed, tile, 9, 9, 1, 16, 16);
      const f32x8 x_7 = f32x8_load(tile);
      const f32x8 x_8 = f32x8_load(step + chunk * 108 + rest * 9);
      f32x8_store(carry_1 + chunk * 108 + rest * 9, f32x8_tanh(f32x8_add(x_7, x_8)));
      const f32x8 x_9 = f32x8_load(tile + 8);
      const f32x8 x_10 = f32x8_load_n(step + chunk * 108 + rest * 9 + 8, 1);
      f32x8_store_n(carry_1 + chunk * 108 + rest * 9 + 8, f32x8_tanh(f32x8_add(x_9, x_10)), 1);
    }
  }
}

/* step_1[n] from carry_1[n, 9] */
KERNEL static void k2_total(const float *restrict carry_1, float *restrict step_1, int64_t n, int64_t begin, int64_t end)
{
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const int64_t stop_1 = i64_min(chunk * 12 + 12, n);
    for (int64_t row = chunk * 12; row < stop_1; row++) {
      const float add_2 = ((carry_1[row * 9] + carry_1[row * 9 + 1]) + carry_1[row * 9 + 2]) + carry_1[row * 9 + 3];
      const float add_3 = ((add_2 + carry_1[row * 9 + 4]) + carry_1[row * 9 + 5]) + carry_1[row * 9 + 6];
      step_1[row] = (add_3 + carry_1[row * 9 + 7]) + carry_1[row * 9 + 8];
    }
  }
}

static void run_chunks(adjoint_context *context, adjoint_chunks body, const void *task, int64_t chunks)
{
  if (chunks > 1 && context->workers > 1 && context->parallel_for) context->parallel_for(context, body, task, chunks);
  else body(task, 0, chunks, 0);
}

#define PROFILED(kernel, call) \
  do { \
    const uint64_t start = context->clock ? context->clock() : 0; \
    call; \
    if (context->clock) { \
      context->counters[2 * (kernel)] += 1; \
      context->counters[2 * (kernel) + 1] += context->clock() - start; \
    } \
  } while (0)

/* What a worker spends on a kernel of a loop whose pieces run side by side. */
#define TIMED(spent, call) \
  do { \
    const uint64_t start = context->clock ? context->clock() : 0; \
    call; \
    if (context->clock) (spent) += context->clock() - start; \
  } while (0)

/* Shares the time that a loop has taken among its kernels, as workers have spent theirs. */
static void adjoint_attribute(adjoint_context *context, uint64_t start, const uint64_t *spent, int32_t workers,
                              const int32_t *kernels, int32_t count, int64_t calls)
{
  const double taken = (double)(context->clock() - start);
  double total = 0;
  for (int32_t k = 0; k < workers * count; k++) total += (double)spent[k];
  for (int32_t k = 0; k < count; k++) {
    double own = 0;
    for (int32_t w = 0; w < workers; w++) own += (double)spent[w * count + k];
    context->counters[2 * kernels[k]] += (uint64_t)calls;
    if (total > 0) context->counters[2 * kernels[k] + 1] += (uint64_t)(taken * own / total);
  }
}

struct recurrence_pieces {
  float *carry;
  float *carry_1;
  const float *xs;
  float *out1;
  float *packed;
  int64_t n;
  adjoint_context *context;
  uint64_t *spent;
};

static void recurrence_pieces_chunks(const void *task, int64_t begin, int64_t end, int32_t worker)
{
  const struct recurrence_pieces *loop = task;
  const int64_t n = loop->n;
  adjoint_context *const context = loop->context;
  uint64_t *const spent = loop->spent + 2 * worker;
  for (int64_t piece = begin; piece < end; piece++) {
    float *carry = loop->carry;
    float *carry_1 = loop->carry_1;
    for (int64_t t = 0; t < 6; t++) {
      const float *const step = loop->xs + t * (n * 9);
      float *const step_1 = loop->out1 + t * n;
      TIMED(spent[0], k1_matmul_tanh(carry, loop->packed, step, carry_1, n, piece, piece + 1));
      TIMED(spent[1], k2_total(carry_1, step_1, n, piece, piece + 1));
      float *const carry_swap = carry;
      carry = carry_1;
      carry_1 = carry_swap;
    }
  }
}

int32_t recurrence(const recurrence_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};
  const int64_t n = args->n;
  char *const arena = workspace;
  float *carry = (float *)(void *)(arena + 576); /* [n, 9] */
  float *carry_1 = (float *)(void *)(arena + (((n * 36 + 63) / 64) * 64 + 576)); /* [n, 9] */
  float *const packed = (float *)(void *)(arena + 0); /* [1, 9, 16] */

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k_packed(packed, args->w, 0, 1));
  memcpy(carry, args->h0, (size_t)((n * 36)));
  {
    static const int32_t kernels[2] = {1, 2};
    uint64_t spent[RECURRENCE_WORKERS * 2];
    const struct recurrence_pieces task = {carry, carry_1, args->xs, args->out1, packed, n, context, spent};
    const uint64_t start = context->clock ? context->clock() : 0;
    if (context->clock) memset(spent, 0, sizeof spent);
    run_chunks(context, recurrence_pieces_chunks, &task, ((n + 11) / 12));
    if (context->clock)
      adjoint_attribute(context, start, spent, RECURRENCE_WORKERS, kernels, 2, 6);
  }
  memcpy(args->out0, carry, (size_t)((n * 36)));
  return ADJOINT_OK;
}

uint64_t recurrence_workspace(const recurrence_args *args)
{
  const int64_t n = args->n;
  (void)args;
  return (uint64_t)((((n * 36 + 63) / 64) * 128 + 576));
}

const char *recurrence_describe(void)
{
  return "{\"name\": \"recurrence\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"xs\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [6, \"n\", 9]}, {\"name\": \"h0\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [\"n\", 9]}, {\"name\": \"w\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [9, 9]}, {\"name\": \"out0\", \"role\": \"output\", \"dtype\": \"flo"
    "at32\", \"shape\": [\"n\", 9]}, {\"name\": \"out1\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [6, \"n\"]}, {\"name\": \"n\", \"role\": \"extent\", \"dtype\": \"int64\", \"shape\": []}]}";
}
