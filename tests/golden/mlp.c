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

/* c[6, 4] = a[6, depth] @ b[depth, 4] */
static void tile_6x4(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x4 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0;
  f32x4 b0;
  f32x4 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0;
  c0_0 = f32x4_splat(0.0f);
  c1_0 = f32x4_splat(0.0f);
  c2_0 = f32x4_splat(0.0f);
  c3_0 = f32x4_splat(0.0f);
  c4_0 = f32x4_splat(0.0f);
  c5_0 = f32x4_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x4 x_1 = f32x4_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x4_splat(c_2);
    c0_0 = f32x4_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x4_splat(c_3);
    c1_0 = f32x4_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x4_splat(c_4);
    c2_0 = f32x4_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x4_splat(c_5);
    c3_0 = f32x4_fma(a3_0, b0, c3_0);
    const float c_6 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x4_splat(c_6);
    c4_0 = f32x4_fma(a4_0, b0, c4_0);
    const float c_7 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x4_splat(c_7);
    c5_0 = f32x4_fma(a5_0, b0, c5_0);
  }
  f32x4_store(c, c0_0);
  f32x4_store(c + result_stride, c1_0);
  f32x4_store(c + (result_stride * 2), c2_0);
  f32x4_store(c + (result_stride * 3), c3_0);
  f32x4_store(c + (result_stride * 4), c4_0);
  f32x4_store(c + (result_stride * 5), c5_0);
}

/* c[4, 16] = a[4, depth] @ b[depth, 16] */
static void tile_4x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c0_1, c1_0, c1_1, c2_0, c2_1, c3_0, c3_1;
  f32x8 b0, b1;
  f32x8 a0_0, a1_0, a2_0, a3_0;
  c0_0 = f32x8_splat(0.0f);
  c0_1 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c1_1 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c2_1 = f32x8_splat(0.0f);
  c3_0 = f32x8_splat(0.0f);
  c3_1 = f32x8_splat(0.0f);
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
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride + 8), c1_1);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 2 + 8), c2_1);
  f32x8_store(c + (result_stride * 3), c3_0);
  f32x8_store(c + (result_stride * 3 + 8), c3_1);
}

/* c[4, 4] = a[4, depth] @ b[depth, 4] */
static void tile_4x4(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x4 c0_0, c1_0, c2_0, c3_0;
  f32x4 b0;
  f32x4 a0_0, a1_0, a2_0, a3_0;
  c0_0 = f32x4_splat(0.0f);
  c1_0 = f32x4_splat(0.0f);
  c2_0 = f32x4_splat(0.0f);
  c3_0 = f32x4_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x4 x_1 = f32x4_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x4_splat(c_2);
    c0_0 = f32x4_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x4_splat(c_3);
    c1_0 = f32x4_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x4_splat(c_4);
    c2_0 = f32x4_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x4_splat(c_5);
    c3_0 = f32x4_fma(a3_0, b0, c3_0);
  }
  f32x4_store(c, c0_0);
  f32x4_store(c + result_stride, c1_0);
  f32x4_store(c + (result_stride * 2), c2_0);
  f32x4_store(c + (result_stride * 3), c3_0);
}

/* c[8, 8] = a[8, depth] @ b[depth, 8] */
static void tile_8x8(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0, c6_0, c7_0;
  f32x8 b0;
  f32x8 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0, a6_0, a7_0;
  c0_0 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c3_0 = f32x8_splat(0.0f);
  c4_0 = f32x8_splat(0.0f);
  c5_0 = f32x8_splat(0.0f);
  c6_0 = f32x8_splat(0.0f);
  c7_0 = f32x8_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_2);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_3);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_4);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x8_splat(c_5);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    const float c_6 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x8_splat(c_6);
    c4_0 = f32x8_fma(a4_0, b0, c4_0);
    const float c_7 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x8_splat(c_7);
    c5_0 = f32x8_fma(a5_0, b0, c5_0);
    const float c_8 = a[k * depth_stride + (row_stride * 6)];
    a6_0 = f32x8_splat(c_8);
    c6_0 = f32x8_fma(a6_0, b0, c6_0);
    const float c_9 = a[k * depth_stride + (row_stride * 7)];
    a7_0 = f32x8_splat(c_9);
    c7_0 = f32x8_fma(a7_0, b0, c7_0);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 3), c3_0);
  f32x8_store(c + (result_stride * 4), c4_0);
  f32x8_store(c + (result_stride * 5), c5_0);
  f32x8_store(c + (result_stride * 6), c6_0);
  f32x8_store(c + (result_stride * 7), c7_0);
}

/* c[7, 8] = a[7, depth] @ b[depth, 8] */
static void tile_7x8(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0, c6_0;
  f32x8 b0;
  f32x8 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0, a6_0;
  c0_0 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c3_0 = f32x8_splat(0.0f);
  c4_0 = f32x8_splat(0.0f);
  c5_0 = f32x8_splat(0.0f);
  c6_0 = f32x8_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_2);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_3);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_4);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x8_splat(c_5);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    const float c_6 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x8_splat(c_6);
    c4_0 = f32x8_fma(a4_0, b0, c4_0);
    const float c_7 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x8_splat(c_7);
    c5_0 = f32x8_fma(a5_0, b0, c5_0);
    const float c_8 = a[k * depth_stride + (row_stride * 6)];
    a6_0 = f32x8_splat(c_8);
    c6_0 = f32x8_fma(a6_0, b0, c6_0);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 3), c3_0);
  f32x8_store(c + (result_stride * 4), c4_0);
  f32x8_store(c + (result_stride * 5), c5_0);
  f32x8_store(c + (result_stride * 6), c6_0);
}

/* c[6, 8] = a[6, depth] @ b[depth, 8] */
static void tile_6x8(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0;
  f32x8 b0;
  f32x8 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0;
  c0_0 = f32x8_splat(0.0f);
  c1_0 = f32x8_splat(0.0f);
  c2_0 = f32x8_splat(0.0f);
  c3_0 = f32x8_splat(0.0f);
  c4_0 = f32x8_splat(0.0f);
  c5_0 = f32x8_splat(0.0f);
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_1 = f32x8_load(b + k * panel_stride);
    b0 = x_1;
    const float c_2 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_2);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    const float c_3 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_3);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    const float c_4 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_4);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    const float c_5 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x8_splat(c_5);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    const float c_6 = a[k * depth_stride + (row_stride * 4)];
    a4_0 = f32x8_splat(c_6);
    c4_0 = f32x8_fma(a4_0, b0, c4_0);
    const float c_7 = a[k * depth_stride + (row_stride * 5)];
    a5_0 = f32x8_splat(c_7);
    c5_0 = f32x8_fma(a5_0, b0, c5_0);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 3), c3_0);
  f32x8_store(c + (result_stride * 4), c4_0);
  f32x8_store(c + (result_stride * 5), c5_0);
}

/* check_index[16] from t[16] */
KERNEL static void k0_check_index(const int64_t *restrict t, int64_t *restrict check_index, adjoint_context *context, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  for (int64_t j = 0; j < 16; j += 4) {
    const i64x4 x_1 = i64x4_load(t + j);
    int64_t given_2[4];
    int64_t lane_3[4] = {0};
    i64x4_store(given_2, x_1);
    for (int64_t l_4 = 0; l_4 < 4; l_4++)
      lane_3[l_4] = adjoint_index(context, given_2[l_4], 5, 0);
    i64x4_store(check_index + j, i64x4_load(lane_3));
  }
}

/* relu[16, 20] from x[16, 12], w1[12, 20] */
KERNEL static void k1_matmul_relu(const float *restrict x, const float *restrict w1, float *restrict relu, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float tile[6 * 16];
  ADJOINT_ALIGNED float edge_tile[6 * 4];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t r = 0; r < 2; r++) {
      const int64_t stop_1 = i64_min(2, 1);
      for (int64_t p = 0; p < stop_1; p++) {
        tile_6x16(x + r * 72, w1 + p * 16, tile, 12, 12, 1, 20, 16);
        for (int64_t i = 0; i < 6; i++) {
          for (int64_t j = 0; j < 16; j += 8) {
            const f32x8 x_2 = f32x8_load(tile + i * 16 + j);
            f32x8_store(relu + r * 120 + p * 16 + i * 20 + j, f32x8_relu(x_2));
          }
        }
      }
      tile_6x4(x + r * 72, w1 + 16, edge_tile, 12, 12, 1, 20, 4);
      for (int64_t i2 = 0; i2 < 6; i2++) {
        const f32x8 x_3 = f32x8_load_n(edge_tile + i2 * 4, 4);
        f32x8_store_n(relu + r * 120 + i2 * 20 + 16, f32x8_relu(x_3), 4);
      }
    }
    const int64_t stop_4 = i64_min(2, 1);
    for (int64_t p2 = 0; p2 < stop_4; p2++) {
      tile_4x16(x + 144, w1 + p2 * 16, tile, 12, 12, 1, 20, 16);
      for (int64_t i3 = 0; i3 < 4; i3++) {
        for (int64_t j2 = 0; j2 < 16; j2 += 8) {
          const f32x8 x_5 = f32x8_load(tile + i3 * 16 + j2);
          f32x8_store(relu + p2 * 16 + i3 * 20 + j2 + 240, f32x8_relu(x_5));
        }
      }
    }
    tile_4x4(x + 144, w1 + 16, edge_tile, 12, 12, 1, 20, 4);
    for (int64_t i4 = 0; i4 < 4; i4++) {
      const f32x8 x_6 = f32x8_load(edge_tile + i4 * 4);
      f32x8_store_n(relu + i4 * 20 + 256, f32x8_relu(x_6), 4);
    }
  }
}

/* product[16, 5] from w2[20, 5], relu[16, 20] */
KERNEL static void k2_matmul(const float *restrict w2, const float *restrict relu, float *restrict product, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float edge[20 * 8];
  ADJOINT_ALIGNED float tile[8 * 8];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 20; k++) {
      f32x8_store(edge + k * 8, f32x8_splat(0.0f));
      const f32x8 x_1 = f32x8_load_n(w2 + k * 5, 5);
      f32x8_store_n(edge + k * 8, x_1, 5);
    }
    for (int64_t r = 0; r < 2; r++) {
      tile_8x8(relu + r * 160, edge, tile, 20, 20, 1, 8, 8);
      for (int64_t i = 0; i < 8; i++) {
        const f32x8 x_2 = f32x8_load(tile + i * 8);
        f32x8_store_n(product + r * 40 + i * 5, x_2, 5);
      }
    }
  }
}

/* fma[16, 5], total[] from product[16, 5], check_index[16] */
KERNEL static void k3_max_exp_total(const float *restrict product, const int64_t *restrict check_index, float *restrict fma, float *restrict total, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  float acc0;
  f32x8 acc1;
  float v2;
  f32x4 acc3;
  float v4;
  f32x4 acc5;
  float v6;
  float v7;
  ADJOINT_ALIGNED float row0[5];
  acc0 = 0.0f;
  for (int64_t row = 0; row < 16; row++) {
    acc1 = f32x8_splat((-INFINITY));
    const f32x8 x_1 = f32x8_load_n(product + row * 5, 5);
    acc1 = f32x8_max(acc1, f32x8_select(m32x8_first_n(5), x_1, f32x8_splat((-INFINITY))));
    v2 = f32x8_hmax(acc1);
    acc3 = f32x4_splat(0.0f);
    acc5 = f32x4_splat(0.0f);
    const float c_2 = (v2 == (-INFINITY)) ? 0.0f : v2;
    const int64_t c_3 = check_index[row];
    const f32x4 x_4 = f32x4_load(product + row * 5);
    const f32x4 sub_5 = f32x4_sub(x_4, f32x4_splat(c_2));
    const f32x4 exp_6 = f32x4_exp(sub_5);
    const m64x4 eq_7 = i64x4_eq(i64x4_splat(c_3), i64x4_add(i64x4_splat((int64_t)(0)), i64x4_iota()));
    const f32x4 select_8 = f32x4_select(m32x4_cvt_m64(eq_7), sub_5, f32x4_splat(0.0f));
    f32x4_store(row0, exp_6);
    acc3 = f32x4_add(acc3, exp_6);
    acc5 = f32x4_add(acc5, select_8);
    const f32x4 x_9 = f32x4_load_n(product + row * 5 + 4, 1);
    const f32x4 sub_10 = f32x4_sub(x_9, f32x4_splat(c_2));
    const f32x4 exp_11 = f32x4_exp(sub_10);
    const m64x4 eq_12 = i64x4_eq(i64x4_splat(c_3), i64x4_add(i64x4_splat((int64_t)(4)), i64x4_iota()));
    const f32x4 select_13 = f32x4_select(m32x4_cvt_m64(eq_12), sub_10, f32x4_splat(0.0f));
    f32x4_store_n(row0 + 4, exp_11, 1);
    acc3 = f32x4_add(acc3, f32x4_select(m32x4_first_n(1), exp_11, f32x4_splat(0.0f)));
    acc5 = f32x4_add(acc5, f32x4_select(m32x4_first_n(1), select_13, f32x4_splat(0.0f)));
    v4 = f32x4_hsum(acc3);
    v6 = f32x4_hsum(acc5);
    const int eq_14 = v2 == (-INFINITY);
    const float select_15 = eq_14 ? 1.0f : v4;
    acc0 = acc0 + (f32_log(select_15) - v6);
    v7 = eq_14 ? 0.0f : (0.0625f / select_15);
    const int64_t c_16 = check_index[row];
    const f32x4 x_17 = f32x4_load(row0);
    const f32x4 select_18 = f32x4_select_lt(x_17, f32x4_splat(1.1754944e-38f), f32x4_splat(0.0f), x_17);
    const m64x4 eq_19 = i64x4_eq(i64x4_splat(c_16), i64x4_add(i64x4_splat((int64_t)(0)), i64x4_iota()));
    const f32x4 select_20 = f32x4_select(m32x4_cvt_m64(eq_19), f32x4_splat((-0.0625f)), f32x4_splat(0.0f));
    f32x4_store(fma + row * 5, f32x4_fma(f32x4_splat(v7), select_18, select_20));
    const f32x4 x_21 = f32x4_load_n(row0 + 4, 1);
    const f32x4 select_22 = f32x4_select_lt(x_21, f32x4_splat(1.1754944e-38f), f32x4_splat(0.0f), x_21);
    const m64x4 eq_23 = i64x4_eq(i64x4_splat(c_16), i64x4_add(i64x4_splat((int64_t)(4)), i64x4_iota()));
    const f32x4 select_24 = f32x4_select(m32x4_cvt_m64(eq_23), f32x4_splat((-0.0625f)), f32x4_splat(0.0f));
    f32x4_store_n(fma + row * 5 + 4, f32x4_fma(f32x4_splat(v7), select_22, select_24), 1);
  }
  total[0] = acc0;
}

/* out[] from total[] */
KERNEL static void k4_multiply(const float *restrict total, float *restrict out, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  out[0] = total[0] * 0.0625f;
}

/* product_1[16, 20] from w2[20, 5], fma[16, 5] */
KERNEL static void k5_matmul(const float *restrict w2, const float *restrict fma, float *restrict product_1, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[10 * 16];
  ADJOINT_ALIGNED float edge[5 * 4];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const int64_t stop_1 = i64_min(2, 1);
    for (int64_t p = 0; p < stop_1; p++) {
      f32_turn(w2 + p * 80, panel + p * 80, 5, 16, 16, 5);
    }
    f32_turn(w2 + 80, edge, 5, 4, 4, 5);
    for (int64_t r = 0; r < 2; r++) {
      const int64_t stop_2 = i64_min(2, 1);
      for (int64_t p2 = 0; p2 < stop_2; p2++) {
        tile_6x16(fma + r * 30, panel + p2 * 80, product_1 + r * 120 + p2 * 16, 5, 5, 1, 16, 20);
      }
      tile_6x4(fma + r * 30, edge, product_1 + r * 120 + 16, 5, 5, 1, 4, 20);
    }
    const int64_t stop_3 = i64_min(2, 1);
    for (int64_t p3 = 0; p3 < stop_3; p3++) {
      tile_4x16(fma + 60, panel + p3 * 80, product_1 + p3 * 16 + 240, 5, 5, 1, 16, 20);
    }
    tile_4x4(fma + 60, edge, product_1 + 256, 5, 5, 1, 4, 20);
  }
}

/* w1[12, 20] from relu[16, 20], product_1[16, 20], x[16, 12] */
KERNEL static void k6_matmul_fma(const float *restrict relu, const float *restrict product_1, const float *restrict x, float *restrict w1, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[32 * 16];
  ADJOINT_ALIGNED float tile[6 * 16];
  ADJOINT_ALIGNED float edge[16 * 4];
  ADJOINT_ALIGNED float edge_tile[6 * 4];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 16; k++) {
      const int64_t stop_1 = i64_min(2, 1);
      for (int64_t p = 0; p < stop_1; p++) {
        for (int64_t j = 0; j < 16; j += 8) {
          const f32x8 x_2 = f32x8_load(relu + k * 20 + p * 16 + j);
          const f32x8 x_3 = f32x8_load(product_1 + k * 20 + p * 16 + j);
          const f32x8 select_4 = f32x8_select_lt(f32x8_splat(0.0f), x_2, x_3, f32x8_splat(0.0f));
          f32x8_store(panel + k * 16 + p * 256 + j, select_4);
        }
      }
      const f32x8 x_5 = f32x8_load_n(relu + k * 20 + 16, 4);
      const f32x8 x_6 = f32x8_load_n(product_1 + k * 20 + 16, 4);
      const f32x8 select_7 = f32x8_select_lt(f32x8_splat(0.0f), x_5, x_6, f32x8_splat(0.0f));
      f32x8_store_n(edge + k * 4, select_7, 4);
    }
    for (int64_t r = 0; r < 2; r++) {
      const int64_t stop_8 = i64_min(2, 1);
      for (int64_t p2 = 0; p2 < stop_8; p2++) {
        tile_6x16(x + r * 6, panel + p2 * 256, tile, 16, 1, 12, 16, 16);
        for (int64_t i = 0; i < 6; i++) {
          for (int64_t j2 = 0; j2 < 16; j2 += 8) {
            const f32x8 x_9 = f32x8_load(tile + i * 16 + j2);
            const f32x8 x_10 = f32x8_load(w1 + r * 120 + p2 * 16 + i * 20 + j2);
            f32x8_store(w1 + r * 120 + p2 * 16 + i * 20 + j2, f32x8_fma(x_9, f32x8_splat((-0.1f)), x_10));
          }
        }
      }
      tile_6x4(x + r * 6, edge, edge_tile, 16, 1, 12, 4, 4);
      for (int64_t i2 = 0; i2 < 6; i2++) {
        const f32x8 x_11 = f32x8_load_n(edge_tile + i2 * 4, 4);
        const f32x8 x_12 = f32x8_load_n(w1 + r * 120 + i2 * 20 + 16, 4);
        f32x8_store_n(w1 + r * 120 + i2 * 20 + 16, f32x8_fma(x_11, f32x8_splat((-0.1f)), x_12), 4);
      }
    }
  }
}

/* w2[20, 5] from fma[16, 5], relu[16, 20] */
KERNEL static void k7_matmul_fma(const float *restrict fma, const float *restrict relu, float *restrict w2, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float edge[16 * 8];
  ADJOINT_ALIGNED float tile[7 * 8];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 16; k++) {
      f32x8_store(edge + k * 8, f32x8_splat(0.0f));
      const f32x8 x_1 = f32x8_load_n(fma + k * 5, 5);
      f32x8_store_n(edge + k * 8, x_1, 5);
    }
    for (int64_t r = 0; r < 2; r++) {
      tile_7x8(relu + r * 7, edge, tile, 16, 1, 20, 8, 8);
      for (int64_t i = 0; i < 7; i++) {
        const f32x8 x_2 = f32x8_load(tile + i * 8);
        const f32x8 x_3 = f32x8_load_n(w2 + r * 35 + i * 5, 5);
        f32x8_store_n(w2 + r * 35 + i * 5, f32x8_fma(x_2, f32x8_splat((-0.1f)), x_3), 5);
      }
    }
    tile_6x8(relu + 14, edge, tile, 16, 1, 20, 8, 8);
    for (int64_t i2 = 0; i2 < 6; i2++) {
      const f32x8 x_4 = f32x8_load(tile + i2 * 8);
      const f32x8 x_5 = f32x8_load_n(w2 + i2 * 5 + 70, 5);
      f32x8_store_n(w2 + i2 * 5 + 70, f32x8_fma(x_4, f32x8_splat((-0.1f)), x_5), 5);
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

int32_t mlp(const mlp_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};
  char *const arena = workspace;
  int64_t *const check_index = (int64_t *)(void *)(arena + 1600); /* [16] */
  float *const fma = (float *)(void *)(arena + 2560); /* [16, 5] */
  float *const product = (float *)(void *)(arena + 1280); /* [16, 5] */
  float *const product_1 = (float *)(void *)(arena + 1280); /* [16, 20] */
  float *const relu = (float *)(void *)(arena + 0); /* [16, 20] */
  float *const total = (float *)(void *)(arena + 1728); /* [] */

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k0_check_index(args->t, check_index, context, 0, 1));
  if (context->status) return context->status;
  PROFILED(1, k1_matmul_relu(args->x, args->w1, relu, 0, 1));
  PROFILED(2, k2_matmul(args->w2, relu, product, 0, 1));
  PROFILED(3, k3_max_exp_total(product, check_index, fma, total, 0, 1));
  PROFILED(4, k4_multiply(total, args->out, 0, 1));
  PROFILED(5, k5_matmul(args->w2, fma, product_1, 0, 1));
  PROFILED(6, k6_matmul_fma(relu, product_1, args->x, args->w1, 0, 1));
  PROFILED(7, k7_matmul_fma(fma, relu, args->w2, 0, 1));
  return ADJOINT_OK;
}

uint64_t mlp_workspace(const mlp_args *args)
{
  (void)args;
  return (uint64_t)(2880);
}

const char *mlp_describe(void)
{
  return "{\"name\": \"mlp\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"x\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [16, 12]}, {\"name\": \"t\", \"role\": \"input\", \"dtype\": \"int64\", \"shape\": [16]}, {\"name\": \"w1\", \"role\": \"variable\", \"dtype\": \"float32\", \"shape\": [12, 20]}, {\"name\": \"w2\", \"role\": \"variable\", \"dtype\": \"float32\", \"sha"
    "pe\": [20, 5]}, {\"name\": \"out\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": []}]}";
}
