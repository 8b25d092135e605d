/* c[6, 16] = a[6, depth] @ b[depth, 16] */
static void tile_6x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride)
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
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * 16);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + k * 16 + 8);
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
  f32x8_store(c + 16, c1_0);
  f32x8_store(c + 24, c1_1);
  f32x8_store(c + 32, c2_0);
  f32x8_store(c + 40, c2_1);
  f32x8_store(c + 48, c3_0);
  f32x8_store(c + 56, c3_1);
  f32x8_store(c + 64, c4_0);
  f32x8_store(c + 72, c4_1);
  f32x8_store(c + 80, c5_0);
  f32x8_store(c + 88, c5_1);
}

/* c[1, 16] = a[1, depth] @ b[depth, 16] */
static void tile_1x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride)
{
  (void)row_stride;
  f32x8 c0_0, c0_1;
  f32x8 b0, b1;
  f32x8 a0_0;
  c0_0 = f32x8_splat(0.0f);
  c0_1 = f32x8_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * 16);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + k * 16 + 8);
    b1 = x_2;
    const float c_3 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_3);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
}

/* out[33, 17] from w[20, 17], x[33, 20], v[17] */
KERNEL static void k0_matmul_relu(const float *restrict w, const float *restrict x, const float *restrict v, float *restrict out, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[20 * 16];
  ADJOINT_ALIGNED float tile[6 * 16];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 20; k++) {
      for (int64_t z = 0; z < 16; z += 8) {
        f32x8_store(panel + k * 16 + z, f32x8_splat(0.0f));
      }
      const int64_t stop_1 = i64_min(16, 17 - chunk * 16);
      int64_t j = 0;
      for (; j + 8 <= stop_1; j += 8) {
        const f32x8 x_2 = f32x8_load(w + chunk * 16 + k * 17 + j);
        f32x8_store(panel + k * 16 + j, x_2);
      }
      if (j < stop_1) {
        const int64_t left_3 = stop_1 - j;
        const f32x8 x_4 = f32x8_load_n(w + chunk * 16 + k * 17 + j, left_3);
        f32x8_store_n(panel + k * 16 + j, x_4, left_3);
      }
    }
    for (int64_t r = 0; r < 5; r++) {
      tile_6x16(x + r * 120, panel, tile, 20, 20, 1);
      for (int64_t i = 0; i < 6; i++) {
        const int64_t stop_5 = i64_min(16, 17 - chunk * 16);
        int64_t j2 = 0;
        for (; j2 + 8 <= stop_5; j2 += 8) {
          const f32x8 x_6 = f32x8_load(tile + i * 16 + j2);
          const f32x8 x_7 = f32x8_load(v + chunk * 16 + j2);
          f32x8_store(out + chunk * 16 + r * 102 + i * 17 + j2, f32x8_relu(f32x8_add(x_6, x_7)));
        }
        if (j2 < stop_5) {
          const int64_t left_8 = stop_5 - j2;
          const f32x8 x_9 = f32x8_load_n(tile + i * 16 + j2, left_8);
          const f32x8 x_10 = f32x8_load_n(v + chunk * 16 + j2, left_8);
          f32x8_store_n(out + chunk * 16 + r * 102 + i * 17 + j2, f32x8_relu(f32x8_add(x_9, x_10)), left_8);
        }
      }
    }
    for (int64_t rest = 30; rest < 33; rest++) {
      tile_1x16(x + rest * 20, panel, tile, 20, 20, 1);
      const int64_t stop_11 = i64_min(16, 17 - chunk * 16);
      int64_t j3 = 0;
      for (; j3 + 8 <= stop_11; j3 += 8) {
        const f32x8 x_12 = f32x8_load(tile + j3);
        const f32x8 x_13 = f32x8_load(v + chunk * 16 + j3);
        f32x8_store(out + chunk * 16 + rest * 17 + j3, f32x8_relu(f32x8_add(x_12, x_13)));
      }
      if (j3 < stop_11) {
        const int64_t left_14 = stop_11 - j3;
        const f32x8 x_15 = f32x8_load_n(tile + j3, left_14);
        const f32x8 x_16 = f32x8_load_n(v + chunk * 16 + j3, left_14);
        f32x8_store_n(out + chunk * 16 + rest * 17 + j3, f32x8_relu(f32x8_add(x_15, x_16)), left_14);
      }
    }
  }
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

int32_t dense(const dense_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k0_matmul_relu(args->w, args->x, args->v, args->out, 0, 2));
  return ADJOINT_OK;
}

uint64_t dense_workspace(const dense_args *args)
{
  (void)args;
  return (uint64_t)(0);
}

const char *dense_describe(void)
{
  return "{\"name\": \"dense\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"x\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [33, 20]}, {\"name\": \"w\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [20, 17]}, {\"name\": \"v\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [17]}, {\"name\": \"out\", \"role\": \"output\", \"dtype\": \"float32\", \"shap"
    "e\": [33, 17]}]}";
}
