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

/* c[3, 16] += a[3, depth] @ b[depth, 16] */
static void tile_add_3x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c0_1, c1_0, c1_1, c2_0, c2_1;
  f32x8 b0, b1;
  f32x8 a0_0, a1_0, a2_0;
  const f32x8 x_1 = f32x8_load(c);
  c0_0 = x_1;
  const f32x8 x_2 = f32x8_load(c + 8);
  c0_1 = x_2;
  const f32x8 x_3 = f32x8_load(c + result_stride);
  c1_0 = x_3;
  const f32x8 x_4 = f32x8_load(c + (result_stride + 8));
  c1_1 = x_4;
  const f32x8 x_5 = f32x8_load(c + (result_stride * 2));
  c2_0 = x_5;
  const f32x8 x_6 = f32x8_load(c + (result_stride * 2 + 8));
  c2_1 = x_6;
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_7 = f32x8_load(b + k * panel_stride);
    b0 = x_7;
    const f32x8 x_8 = f32x8_load(b + k * panel_stride + 8);
    b1 = x_8;
    const float c_9 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_9);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
    const float c_10 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_10);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    c1_1 = f32x8_fma(a1_0, b1, c1_1);
    const float c_11 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_11);
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

/* c[3, 8] += a[3, depth] @ b[depth, 8] */
static void tile_add_3x8(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c1_0, c2_0;
  f32x8 b0;
  f32x8 a0_0, a1_0, a2_0;
  const f32x8 x_1 = f32x8_load(c);
  c0_0 = x_1;
  const f32x8 x_2 = f32x8_load(c + result_stride);
  c1_0 = x_2;
  const f32x8 x_3 = f32x8_load(c + (result_stride * 2));
  c2_0 = x_3;
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_4 = f32x8_load(b + k * panel_stride);
    b0 = x_4;
    const float c_5 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_5);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    const float c_6 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_6);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    const float c_7 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_7);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride * 2), c2_0);
}

/* c[4, 16] += a[4, depth] @ b[depth, 16] */
static void tile_add_4x16(const float *restrict a, const float *restrict b, float *restrict c, int64_t depth, int64_t row_stride, int64_t depth_stride, int64_t panel_stride, int64_t result_stride)
{
  f32x8 c0_0, c0_1, c1_0, c1_1, c2_0, c2_1, c3_0, c3_1;
  f32x8 b0, b1;
  f32x8 a0_0, a1_0, a2_0, a3_0;
  const f32x8 x_1 = f32x8_load(c);
  c0_0 = x_1;
  const f32x8 x_2 = f32x8_load(c + 8);
  c0_1 = x_2;
  const f32x8 x_3 = f32x8_load(c + result_stride);
  c1_0 = x_3;
  const f32x8 x_4 = f32x8_load(c + (result_stride + 8));
  c1_1 = x_4;
  const f32x8 x_5 = f32x8_load(c + (result_stride * 2));
  c2_0 = x_5;
  const f32x8 x_6 = f32x8_load(c + (result_stride * 2 + 8));
  c2_1 = x_6;
  const f32x8 x_7 = f32x8_load(c + (result_stride * 3));
  c3_0 = x_7;
  const f32x8 x_8 = f32x8_load(c + (result_stride * 3 + 8));
  c3_1 = x_8;
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_9 = f32x8_load(b + k * panel_stride);
    b0 = x_9;
    const f32x8 x_10 = f32x8_load(b + k * panel_stride + 8);
    b1 = x_10;
    const float c_11 = a[k * depth_stride];
    a0_0 = f32x8_splat(c_11);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
    const float c_12 = a[k * depth_stride + row_stride];
    a1_0 = f32x8_splat(c_12);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    c1_1 = f32x8_fma(a1_0, b1, c1_1);
    const float c_13 = a[k * depth_stride + (row_stride * 2)];
    a2_0 = f32x8_splat(c_13);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    c2_1 = f32x8_fma(a2_0, b1, c2_1);
    const float c_14 = a[k * depth_stride + (row_stride * 3)];
    a3_0 = f32x8_splat(c_14);
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

/* out0[2, 4, 5, 4], where[2, 4, 5, 4] from x[2, 3, 9, 8], w[4, 3, 3, 3] */
KERNEL static void k0_matmul_relu_where(const float *restrict x, const float *restrict w, float *restrict out0, float *restrict where, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[54 * 16];
  ADJOINT_ALIGNED float tile[4 * 16];
  ADJOINT_ALIGNED float edge[27 * 4];
  ADJOINT_ALIGNED float edge_tile[4 * 4];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k0 = 0; k0 < 3; k0++) {
      for (int64_t k1 = 0; k1 < 3; k1++) {
        for (int64_t k2 = 0; k2 < 3; k2++) {
          const int64_t stop_1 = i64_min(2, 1);
          for (int64_t p = 0; p < stop_1; p++) {
            for (int64_t j = 0; j < 16; j += 8) {
              float lane_2[8] = {0};
              for (int64_t l_3 = 0; l_3 < 8; l_3++)
                lane_2[l_3] = (k1 + p * 8 + ((j + l_3) / 4) * 2 - 1) >= 0 && k1 + p * 8 + ((j + l_3) / 4) * 2 - 1 < 9 && (k2 + ((j + l_3) % 4) * 2 - 1) >= 0 && k2 + ((j + l_3) % 4) * 2 - 1 < 8 ? x[chunk * 216 + k0 * 72 + k1 * 8 + k2 + p * 64 + ((j + l_3) / 4) * 16 + ((j + l_3) % 4) * 2 - 9] : 0.0f;
              const f32x8 x_4 = f32x8_load(lane_2);
              f32x8_store(panel + k0 * 144 + k1 * 48 + k2 * 16 + p * 432 + j, x_4);
            }
          }
          float lane_5[8] = {0};
          for (int64_t l_6 = 0; l_6 < 4; l_6++)
            lane_5[l_6] = k1 + 7 < 9 && (k2 + l_6 * 2 - 1) >= 0 && k2 + l_6 * 2 - 1 < 8 ? x[chunk * 216 + k0 * 72 + k1 * 8 + k2 + l_6 * 2 + 55] : 0.0f;
          const f32x8 x_7 = f32x8_load(lane_5);
          f32x8_store_n(edge + k0 * 36 + k1 * 12 + k2 * 4, x_7, 4);
        }
      }
    }
    const int64_t stop_8 = i64_min(2, 1);
    for (int64_t p2 = 0; p2 < stop_8; p2++) {
      tile_4x16(w, panel + p2 * 432, tile, 27, 27, 1, 16, 16);
      for (int64_t i = 0; i < 4; i++) {
        for (int64_t j2 = 0; j2 < 16; j2 += 8) {
          const f32x8 x_9 = f32x8_load(tile + i * 16 + j2);
          const f32x8 relu_10 = f32x8_relu(x_9);
          const f32x8 select_11 = f32x8_select_lt(f32x8_splat(0.0f), relu_10, f32x8_mul(relu_10, f32x8_splat(2.0f)), f32x8_splat(0.0f));
          f32x8_store(out0 + chunk * 80 + p2 * 16 + i * 20 + j2, relu_10);
          f32x8_store(where + chunk * 80 + p2 * 16 + i * 20 + j2, select_11);
        }
      }
    }
    tile_4x4(w, edge, edge_tile, 27, 27, 1, 4, 4);
    for (int64_t i2 = 0; i2 < 4; i2++) {
      const f32x8 x_12 = f32x8_load_n(edge_tile + i2 * 4, 4);
      const f32x8 relu_13 = f32x8_relu(x_12);
      const f32x8 select_14 = f32x8_select_lt(f32x8_splat(0.0f), relu_13, f32x8_mul(relu_13, f32x8_splat(2.0f)), f32x8_splat(0.0f));
      f32x8_store_n(out0 + chunk * 80 + i2 * 20 + 16, relu_13, 4);
      f32x8_store_n(where + chunk * 80 + i2 * 20 + 16, select_14, 4);
    }
  }
}

/* out1[2, 3, 9, 8] from where[2, 4, 5, 4], w[4, 3, 3, 3] */
KERNEL static void k1_matmul(const float *restrict where, const float *restrict w, float *restrict out1, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[9 * 16];
  ADJOINT_ALIGNED float tile[3 * 16];
  ADJOINT_ALIGNED float edge[9 * 8];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t i = 0; i < 3; i++) {
      for (int64_t j = 0; j < 16; j += 8) {
        f32x8_store(tile + i * 16 + j, f32x8_splat(0.0f));
      }
    }
    for (int64_t o0 = 0; o0 < 4; o0++) {
      for (int64_t k0 = 0; k0 < 3; k0++) {
        for (int64_t k1 = 0; k1 < 3; k1++) {
          const int64_t stop_1 = i64_min(1, 4 - (chunk % 5));
          for (int64_t p = 0; p < stop_1; p++) {
            for (int64_t j2 = 0; j2 < 16; j2 += 8) {
              float lane_2[8] = {0};
              for (int64_t l_3 = 0; l_3 < 8; l_3++)
                lane_2[l_3] = ((chunk % 5) * 2 + ((j2 + l_3) / 8) + 1 - k0) % 2 == 0 && ((chunk % 5) * 2 + ((j2 + l_3) / 8) + 1 - k0) >= 0 && (chunk % 5) * 2 + ((j2 + l_3) / 8) + 1 - k0 < 9 && (((j2 + l_3) % 8) + 1 - k1) % 2 == 0 && (((j2 + l_3) % 8) + 1 - k1) >= 0 && ((j2 + l_3) % 8) + 1 - k1 < 7 ? where[(chunk / 5) * 80 + (chunk % 5) * 4 + o0 * 20 + ((((j2 + l_3) / 8) + 1 - k0) / 2) * 4 + ((((j2 + l_3) % 8) + 1 - k1) / 2)] : 0.0f;
              const f32x8 x_4 = f32x8_load(lane_2);
              f32x8_store(panel + k0 * 48 + k1 * 16 + j2, x_4);
            }
          }
          for (int64_t last = 4 - (chunk % 5); last < 1; last++) {
            float lane_5[8] = {0};
            for (int64_t l_6 = 0; l_6 < 8; l_6++)
              lane_5[l_6] = ((chunk % 5) * 2 + 1 - k0) % 2 == 0 && ((chunk % 5) * 2 + 1 - k0) >= 0 && (chunk % 5) * 2 + 1 - k0 < 9 && (l_6 + 1 - k1) % 2 == 0 && (l_6 + 1 - k1) >= 0 && l_6 + 1 - k1 < 7 ? where[(chunk / 5) * 80 + (chunk % 5) * 4 + o0 * 20 + ((1 - k0) / 2) * 4 + ((l_6 + 1 - k1) / 2)] : 0.0f;
            const f32x8 x_7 = f32x8_load(lane_5);
            f32x8_store(edge + k0 * 24 + k1 * 8, x_7);
          }
        }
      }
      const int64_t stop_8 = i64_min(1, 4 - (chunk % 5));
      for (int64_t p2 = 0; p2 < stop_8; p2++) {
        tile_add_3x16(w + o0 * 27, panel, tile, 9, 9, 1, 16, 16);
      }
      for (int64_t last2 = 4 - (chunk % 5); last2 < 1; last2++) {
        tile_add_3x8(w + o0 * 27, edge, tile, 9, 9, 1, 8, 16);
      }
    }
    for (int64_t i2 = 0; i2 < 3; i2++) {
      const int64_t stop_9 = i64_min(16, 72 - (chunk % 5) * 16);
      int64_t j3 = 0;
      for (; j3 + 8 <= stop_9; j3 += 8) {
        const f32x8 x_10 = f32x8_load(tile + i2 * 16 + j3);
        f32x8_store(out1 + (chunk / 5) * 216 + (chunk % 5) * 16 + i2 * 72 + j3, x_10);
      }
      if (j3 < stop_9) {
        const int64_t left_11 = stop_9 - j3;
        const f32x8 x_12 = f32x8_load_n(tile + i2 * 16 + j3, left_11);
        f32x8_store_n(out1 + (chunk / 5) * 216 + (chunk % 5) * 16 + i2 * 72 + j3, x_12, left_11);
      }
    }
  }
}

/* out2[4, 3, 3, 3] from x[2, 3, 9, 8], where[2, 4, 5, 4] */
KERNEL static void k2_matmul(const float *restrict x, const float *restrict where, float *restrict out2, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float panel[20 * 16];
  ADJOINT_ALIGNED float tile[4 * 16];
  ADJOINT_ALIGNED float edge[20 * 16];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t i = 0; i < 4; i++) {
      for (int64_t j = 0; j < 16; j += 8) {
        f32x8_store(tile + i * 16 + j, f32x8_splat(0.0f));
      }
    }
    for (int64_t o0 = 0; o0 < 2; o0++) {
      for (int64_t k0 = 0; k0 < 5; k0++) {
        for (int64_t k1 = 0; k1 < 4; k1++) {
          const int64_t stop_1 = i64_min(1, 1 - chunk);
          for (int64_t p = 0; p < stop_1; p++) {
            for (int64_t j2 = 0; j2 < 16; j2 += 8) {
              float lane_2[8] = {0};
              for (int64_t l_3 = 0; l_3 < 8; l_3++)
                lane_2[l_3] = (k0 * 2 + (((chunk * 16 + j2 + l_3) / 3) % 3) - 1) >= 0 && k0 * 2 + (((chunk * 16 + j2 + l_3) / 3) % 3) - 1 < 9 && (k1 * 2 + ((chunk * 16 + j2 + l_3) % 3) - 1) >= 0 && k1 * 2 + ((chunk * 16 + j2 + l_3) % 3) - 1 < 8 ? x[o0 * 216 + k0 * 16 + k1 * 2 + (((chunk * 16 + j2 + l_3) / 3) / 3) * 72 + (((chunk * 16 + j2 + l_3) / 3) % 3) * 8 + ((chunk * 16 + j2 + l_3) % 3) - 9] : 0.0f;
              const f32x8 x_4 = f32x8_load(lane_2);
              f32x8_store(panel + k0 * 64 + k1 * 16 + j2, x_4);
            }
          }
          for (int64_t last = 1 - chunk; last < 1; last++) {
            for (int64_t z = 0; z < 16; z += 8) {
              f32x8_store(edge + k0 * 64 + k1 * 16 + z, f32x8_splat(0.0f));
            }
            float lane_5[8] = {0};
            for (int64_t l_6 = 0; l_6 < 8; l_6++)
              lane_5[l_6] = (k0 * 2 + (((chunk * 16 + l_6) / 3) % 3) - 1) >= 0 && k0 * 2 + (((chunk * 16 + l_6) / 3) % 3) - 1 < 9 && (k1 * 2 + ((chunk * 16 + l_6) % 3) - 1) >= 0 && k1 * 2 + ((chunk * 16 + l_6) % 3) - 1 < 8 ? x[o0 * 216 + k0 * 16 + k1 * 2 + (((chunk * 16 + l_6) / 3) / 3) * 72 + (((chunk * 16 + l_6) / 3) % 3) * 8 + ((chunk * 16 + l_6) % 3) - 9] : 0.0f;
            const f32x8 x_7 = f32x8_load(lane_5);
            f32x8_store(edge + k0 * 64 + k1 * 16, x_7);
            float lane_8[8] = {0};
            for (int64_t l_9 = 0; l_9 < 3; l_9++)
              lane_8[l_9] = (k0 * 2 + ((((chunk * 16 + l_9 + 2) / 3) + 2) % 3) - 1) >= 0 && k0 * 2 + ((((chunk * 16 + l_9 + 2) / 3) + 2) % 3) - 1 < 9 && (k1 * 2 + ((chunk * 16 + l_9 + 2) % 3) - 1) >= 0 && k1 * 2 + ((chunk * 16 + l_9 + 2) % 3) - 1 < 8 ? x[o0 * 216 + k0 * 16 + k1 * 2 + ((((chunk * 16 + l_9 + 2) / 3) + 2) / 3) * 72 + ((((chunk * 16 + l_9 + 2) / 3) + 2) % 3) * 8 + ((chunk * 16 + l_9 + 2) % 3) - 9] : 0.0f;
            const f32x8 x_10 = f32x8_load(lane_8);
            f32x8_store_n(edge + k0 * 64 + k1 * 16 + 8, x_10, 3);
          }
        }
      }
      const int64_t stop_11 = i64_min(1, 1 - chunk);
      for (int64_t p2 = 0; p2 < stop_11; p2++) {
        tile_add_4x16(where + o0 * 80, panel, tile, 20, 20, 1, 16, 16);
      }
      for (int64_t last2 = 1 - chunk; last2 < 1; last2++) {
        tile_add_4x16(where + o0 * 80, edge, tile, 20, 20, 1, 16, 16);
      }
    }
    for (int64_t i2 = 0; i2 < 4; i2++) {
      const int64_t stop_12 = i64_min(16, 27 - chunk * 16);
      int64_t j3 = 0;
      for (; j3 + 8 <= stop_12; j3 += 8) {
        const f32x8 x_13 = f32x8_load(tile + i2 * 16 + j3);
        f32x8_store(out2 + chunk * 16 + i2 * 27 + j3, x_13);
      }
      if (j3 < stop_12) {
        const int64_t left_14 = stop_12 - j3;
        const f32x8 x_15 = f32x8_load_n(tile + i2 * 16 + j3, left_14);
        f32x8_store_n(out2 + chunk * 16 + i2 * 27 + j3, x_15, left_14);
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

int32_t convolution(const convolution_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};
  char *const arena = workspace;
  float *const where = (float *)(void *)(arena + 0); /* [2, 4, 5, 4] */

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k0_matmul_relu_where(args->x, args->w, args->out0, where, 0, 2));
  PROFILED(1, k1_matmul(where, args->w, args->out1, 0, 10));
  PROFILED(2, k2_matmul(args->x, where, args->out2, 0, 2));
  return ADJOINT_OK;
}

uint64_t convolution_workspace(const convolution_args *args)
{
  (void)args;
  return (uint64_t)(640);
}

const char *convolution_describe(void)
{
  return "{\"name\": \"convolution\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"x\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [2, 3, 9, 8]}, {\"name\": \"w\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [4, 3, 3, 3]}, {\"name\": \"out0\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [2, 4, 5, 4]}, {\"name\": \"out1\", \"role\": \"output\", \"dty"
    "pe\": \"float32\", \"shape\": [2, 3, 9, 8]}, {\"name\": \"out2\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [4, 3, 3, 3]}]}";
}
