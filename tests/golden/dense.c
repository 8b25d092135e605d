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

/* c[6, 2] = a[6, depth] @ b[depth, 2] */
static void tile_6x2(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x2 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0;
  f32x2 b0;
  f32x2 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0;
  c0_0 = f32x2_splat(0.0f);
  c1_0 = f32x2_splat(0.0f);
  c2_0 = f32x2_splat(0.0f);
  c3_0 = f32x2_splat(0.0f);
  c4_0 = f32x2_splat(0.0f);
  c5_0 = f32x2_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x2 x_1 = f32x2_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x2_splat(c_2);
    c0_0 = f32x2_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x2_splat(c_3);
    c1_0 = f32x2_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x2_splat(c_4);
    c2_0 = f32x2_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x2_splat(c_5);
    c3_0 = f32x2_fma(a3_0, b0, c3_0);
    const float c_6 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x2_splat(c_6);
    c4_0 = f32x2_fma(a4_0, b0, c4_0);
    const float c_7 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x2_splat(c_7);
    c5_0 = f32x2_fma(a5_0, b0, c5_0);
  }
  f32x2_store(c, c0_0);
  f32x2_store(c + result_stride, c1_0);
  f32x2_store(c + (result_stride * 2), c2_0);
  f32x2_store(c + (result_stride * 3), c3_0);
  f32x2_store(c + (result_stride * 4), c4_0);
  f32x2_store(c + (result_stride * 5), c5_0);
}

/* c[3, 16] = a[3, depth] @ b[depth, 16] */
static void tile_3x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c0_1, c1_0, c1_1, c2_0, c2_1;
  f32x8 b0, b1;
  f32x8 a0_0, a1_0, a2_0;
  c0_0 = f32x8_splat(0.0f);
  c0_1 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c1_1 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c2_1 = f32x8_splat(0.0f);
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
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride + 8), c1_1);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 2 + 8), c2_1);
}

/* c[3, 2] = a[3, depth] @ b[depth, 2] */
static void tile_3x2(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x2 c0_0, c1_0, c2_0;
  f32x2 b0;
  f32x2 a0_0, a1_0, a2_0;
  c0_0 = f32x2_splat(0.0f);
  c1_0 = f32x2_splat(0.0f);
  c2_0 = f32x2_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x2 x_1 = f32x2_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x2_splat(c_2);
    c0_0 = f32x2_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x2_splat(c_3);
    c1_0 = f32x2_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x2_splat(c_4);
    c2_0 = f32x2_fma(a2_0, b0, c2_0);
  }
  f32x2_store(c, c0_0);
  f32x2_store(c + result_stride, c1_0);
  f32x2_store(c + (result_stride * 2), c2_0);
}

/* out[33, 17] from w[20, 17], x[33, 20], v[17] */
KERNEL static void k0_matmul_relu(const float *restrict w, const float *restrict x, const float *restrict v, float *restrict out, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float tile[6 * 16];
  ADJOINT_ALIGNED float edge[20 * 2];
  ADJOINT_ALIGNED float edge_tile[6 * 2];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 20; k++) {
      f32x2_store(edge + k * 2, f32x2_splat(0.0f));
      const f32x8 x_1 = f32x8_load_n(w + k * 17 + 16, 1);
      f32x8_store_n(edge + k * 2, x_1, 1);
    }
    for (int64_t r = 0; r < 5; r++) {
      const int64_t stop_2 = i64_min(2, 1);
      for (int64_t p = 0; p < stop_2; p++) {
        tile_6x16(x + r * 120, w + p * 16, tile, 20, 20, 1, 17, 16);
        for (int64_t i = 0; i < 6; i++) {
          for (int64_t j = 0; j < 16; j += 8) {
            const f32x8 x_3 = f32x8_load(tile + i * 16 + j);
            const f32x8 x_4 = f32x8_load(v + p * 16 + j);
            f32x8_store(out + r * 102 + p * 16 + i * 17 + j, f32x8_relu(f32x8_add(x_3, x_4)));
          }
        }
      }
      tile_6x2(x + r * 120, edge, edge_tile, 20, 20, 1, 2, 2);
      for (int64_t i2 = 0; i2 < 6; i2++) {
        const float c_5 = f32_relu(edge_tile[i2 * 2] + v[16]);
        out[r * 102 + i2 * 17 + 16] = c_5;
      }
    }
    const int64_t stop_6 = i64_min(2, 1);
    for (int64_t p2 = 0; p2 < stop_6; p2++) {
      tile_3x16(x + 600, w + p2 * 16, tile, 20, 20, 1, 17, 16);
      for (int64_t i3 = 0; i3 < 3; i3++) {
        for (int64_t j2 = 0; j2 < 16; j2 += 8) {
          const f32x8 x_7 = f32x8_load(tile + i3 * 16 + j2);
          const f32x8 x_8 = f32x8_load(v + p2 * 16 + j2);
          f32x8_store(out + p2 * 16 + i3 * 17 + j2 + 510, f32x8_relu(f32x8_add(x_7, x_8)));
        }
      }
    }
    tile_3x2(x + 600, edge, edge_tile, 20, 20, 1, 2, 2);
    for (int64_t i4 = 0; i4 < 3; i4++) {
      const float c_9 = f32_relu(edge_tile[i4 * 2] + v[16]);
      out[i4 * 17 + 526] = c_9;
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
  PROFILED(0, k0_matmul_relu(args->w, args->x, args->v, args->out, 0, 1));
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
