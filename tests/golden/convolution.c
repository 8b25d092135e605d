/* c[4, 16] = a[depth, 4]ᵀ @ b[at[depth], 16] */
static void tile_at_4x16(const float *restrict a, const float *restrict b, const int32_t *restrict at, float *restrict c, int64_t depth, int64_t a_step, int64_t c_row)
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
    const f32x8 x_1 = f32x8_load(b + (int64_t)at[k]);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + (int64_t)at[k] + 8);
    b1 = x_2;
    const float c_3 = a[k * a_step];
    a0_0 = f32x8_splat(c_3);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
    const float c_4 = a[k * a_step + 1];
    a1_0 = f32x8_splat(c_4);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    c1_1 = f32x8_fma(a1_0, b1, c1_1);
    const float c_5 = a[k * a_step + 2];
    a2_0 = f32x8_splat(c_5);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    c2_1 = f32x8_fma(a2_0, b1, c2_1);
    const float c_6 = a[k * a_step + 3];
    a3_0 = f32x8_splat(c_6);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    c3_1 = f32x8_fma(a3_0, b1, c3_1);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + c_row, c1_0);
  f32x8_store(c + (c_row + 8), c1_1);
  f32x8_store(c + (c_row * 2), c2_0);
  f32x8_store(c + (c_row * 2 + 8), c2_1);
  f32x8_store(c + (c_row * 3), c3_0);
  f32x8_store(c + (c_row * 3 + 8), c3_1);
}

/* c[3, 16] = a[depth, 3]ᵀ @ b[at[depth], 16] */
static void tile_at_3x16(const float *restrict a, const float *restrict b, const int32_t *restrict at, float *restrict c, int64_t depth, int64_t a_step, int64_t c_row)
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
    const f32x8 x_1 = f32x8_load(b + (int64_t)at[k]);
    b0 = x_1;
    const f32x8 x_2 = f32x8_load(b + (int64_t)at[k] + 8);
    b1 = x_2;
    const float c_3 = a[k * a_step];
    a0_0 = f32x8_splat(c_3);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    c0_1 = f32x8_fma(a0_0, b1, c0_1);
    const float c_4 = a[k * a_step + 1];
    a1_0 = f32x8_splat(c_4);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    c1_1 = f32x8_fma(a1_0, b1, c1_1);
    const float c_5 = a[k * a_step + 2];
    a2_0 = f32x8_splat(c_5);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    c2_1 = f32x8_fma(a2_0, b1, c2_1);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + c_row, c1_0);
  f32x8_store(c + (c_row + 8), c1_1);
  f32x8_store(c + (c_row * 2), c2_0);
  f32x8_store(c + (c_row * 2 + 8), c2_1);
}

/* c[9, 8] += a[9, at[depth]] @ b[depth, 8] */
static void tile_places_3_3x8(const float *restrict a, const int32_t *restrict at, const float *restrict b, float *restrict c, int64_t depth, int64_t outer_row, int64_t inner_row)
{
  f32x8 c0_0, c1_0, c2_0, c3_0, c4_0, c5_0, c6_0, c7_0, c8_0;
  f32x8 b0;
  f32x8 a0_0, a1_0, a2_0, a3_0, a4_0, a5_0, a6_0, a7_0, a8_0;
  const f32x8 x_1 = f32x8_load(c);
  c0_0 = x_1;
  const f32x8 x_2 = f32x8_load(c + 8);
  c1_0 = x_2;
  const f32x8 x_3 = f32x8_load(c + 16);
  c2_0 = x_3;
  const f32x8 x_4 = f32x8_load(c + 24);
  c3_0 = x_4;
  const f32x8 x_5 = f32x8_load(c + 32);
  c4_0 = x_5;
  const f32x8 x_6 = f32x8_load(c + 40);
  c5_0 = x_6;
  const f32x8 x_7 = f32x8_load(c + 48);
  c6_0 = x_7;
  const f32x8 x_8 = f32x8_load(c + 56);
  c7_0 = x_8;
  const f32x8 x_9 = f32x8_load(c + 64);
  c8_0 = x_9;
  for (int64_t k = 0; k < depth; k++) {
    const f32x8 x_10 = f32x8_load(b + k * 8);
    b0 = x_10;
    const float c_11 = a[(int64_t)at[k]];
    a0_0 = f32x8_splat(c_11);
    c0_0 = f32x8_fma(a0_0, b0, c0_0);
    const float c_12 = a[(int64_t)at[k] + inner_row];
    a1_0 = f32x8_splat(c_12);
    c1_0 = f32x8_fma(a1_0, b0, c1_0);
    const float c_13 = a[(int64_t)at[k] + (inner_row * 2)];
    a2_0 = f32x8_splat(c_13);
    c2_0 = f32x8_fma(a2_0, b0, c2_0);
    const float c_14 = a[(int64_t)at[k] + outer_row];
    a3_0 = f32x8_splat(c_14);
    c3_0 = f32x8_fma(a3_0, b0, c3_0);
    const float c_15 = a[(int64_t)at[k] + (inner_row + outer_row)];
    a4_0 = f32x8_splat(c_15);
    c4_0 = f32x8_fma(a4_0, b0, c4_0);
    const float c_16 = a[(int64_t)at[k] + (inner_row * 2 + outer_row)];
    a5_0 = f32x8_splat(c_16);
    c5_0 = f32x8_fma(a5_0, b0, c5_0);
    const float c_17 = a[(int64_t)at[k] + (outer_row * 2)];
    a6_0 = f32x8_splat(c_17);
    c6_0 = f32x8_fma(a6_0, b0, c6_0);
    const float c_18 = a[(int64_t)at[k] + (inner_row + outer_row * 2)];
    a7_0 = f32x8_splat(c_18);
    c7_0 = f32x8_fma(a7_0, b0, c7_0);
    const float c_19 = a[(int64_t)at[k] + (inner_row * 2 + outer_row * 2)];
    a8_0 = f32x8_splat(c_19);
    c8_0 = f32x8_fma(a8_0, b0, c8_0);
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c1_0);
  f32x8_store(c + 16, c2_0);
  f32x8_store(c + 24, c3_0);
  f32x8_store(c + 32, c4_0);
  f32x8_store(c + 40, c5_0);
  f32x8_store(c + 48, c6_0);
  f32x8_store(c + 56, c7_0);
  f32x8_store(c + 64, c8_0);
}

/* packed[1, 27, 4] from w[4, 3, 3, 3] */
KERNEL static void k0_pack(const float *restrict w, float *restrict packed, int64_t begin, int64_t end)
{
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k0 = 0; k0 < 3; k0++) {
      for (int64_t k1 = 0; k1 < 3; k1++) {
        for (int64_t k2 = 0; k2 < 3; k2++) {
          const f32x4 x_1 = f32x4_load_s(w + k0 * 9 + k1 * 3 + k2, 27);
          f32x4_store(packed + k0 * 36 + k1 * 12 + k2 * 4, x_1);
        }
      }
    }
  }
}

/* out0[2, 4, 5, 4] from x[2, 3, 9, 8], packed[1, 27, 4] */
KERNEL static void k1_matmul_relu(const float *restrict x, const float *restrict packed, float *restrict out0, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float image[376];
  ADJOINT_ALIGNED int32_t at[27];
  ADJOINT_ALIGNED float tile[4 * 32];
  for (int64_t z = 0; z < 376; z += 8) {
    f32x8_store(image + z, f32x8_splat(0.0f));
  }
  for (int64_t k0 = 0; k0 < 3; k0++) {
    for (int64_t k1 = 0; k1 < 3; k1++) {
      for (int64_t k2 = 0; k2 < 3; k2++) {
        const int32_t index_1 = (int32_t)(k0 * 120 + (k1 / 2) * 5 + (k1 % 2) * 60 + (k2 / 2) + (k2 % 2) * 30);
        at[k0 * 9 + k1 * 3 + k2] = index_1;
      }
    }
  }
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t c = 0; c < 3; c++) {
      for (int64_t u = 0; u < 6; u++) {
        static const int32_t at_2[8] = {0, 2, 4, 6, 0, 0, 0, 0};
        const f32x8 x_3 = (u * 2 - 1) >= 0 && u * 2 - 1 < 9 ? f32x8_pick(f32x8_load_n(x + chunk * 216 + c * 72 + u * 16 - 7, 7), at_2) : f32x8_splat(0.0f);
        f32x8_store_n(image + c * 120 + u * 5 + 1, x_3, 4);
      }
      for (int64_t u2 = 0; u2 < 6; u2++) {
        static const int32_t at_4[8] = {0, 2, 4, 6, 0, 0, 0, 0};
        const f32x8 x_5 = (u2 * 2 - 1) >= 0 && u2 * 2 - 1 < 9 ? f32x8_pick(f32x8_load_n(x + chunk * 216 + c * 72 + u2 * 16 - 8, 7), at_4) : f32x8_splat(0.0f);
        f32x8_store_n(image + c * 120 + u2 * 5 + 30, x_5, 4);
      }
      for (int64_t u3 = 0; u3 < 5; u3++) {
        static const int32_t at_6[8] = {1, 3, 5, 7, 1, 1, 1, 1};
        const f32x8 x_7 = f32x8_pick(f32x8_load(x + chunk * 216 + c * 72 + u3 * 16), at_6);
        f32x8_store_n(image + c * 120 + u3 * 5 + 61, x_7, 4);
      }
      for (int64_t u4 = 0; u4 < 5; u4++) {
        static const int32_t at_8[8] = {0, 2, 4, 6, 0, 0, 0, 0};
        const f32x8 x_9 = f32x8_pick(f32x8_load(x + chunk * 216 + c * 72 + u4 * 16), at_8);
        f32x8_store_n(image + c * 120 + u4 * 5 + 90, x_9, 4);
      }
    }
    for (int64_t q = 0; q < 2; q++) {
      tile_at_4x16(packed, image + q * 16, at, tile + q * 16, 27, 4, 32);
    }
    for (int64_t i = 0; i < 4; i++) {
      for (int64_t y = 0; y < 5; y++) {
        const f32x8 x_10 = f32x8_load(tile + i * 32 + y * 5);
        f32x8_store_n(out0 + chunk * 80 + i * 20 + y * 4, f32x8_relu(x_10), 4);
      }
    }
  }
}

/* packed_1[1, 36, 3] from w[4, 3, 3, 3] */
KERNEL static void k2_pack(const float *restrict w, float *restrict packed_1, int64_t begin, int64_t end)
{
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k0 = 0; k0 < 4; k0++) {
      for (int64_t k1 = 0; k1 < 3; k1++) {
        for (int64_t k2 = 0; k2 < 3; k2++) {
          const f32x2 x_1 = f32x2_load_s(w + k0 * 27 + k1 * 3 + k2, 9);
          f32x2_store(packed_1 + k0 * 27 + k1 * 9 + k2 * 3, x_1);
          const f32x2 x_2 = f32x2_load_sn(w + k0 * 27 + k1 * 3 + k2 + 18, 9, 1);
          f32x2_store_n(packed_1 + k0 * 27 + k1 * 9 + k2 * 3 + 2, x_2, 1);
        }
      }
    }
  }
}

/* out1[2, 3, 9, 8] from out0[2, 4, 5, 4], packed_1[1, 36, 3] */
KERNEL static void k3_matmul(const float *restrict out0, const float *restrict packed_1, float *restrict out1, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float image[456];
  ADJOINT_ALIGNED int32_t at[36];
  ADJOINT_ALIGNED float tile[3 * 96];
  for (int64_t z = 0; z < 456; z += 8) {
    f32x8_store(image + z, f32x8_splat(0.0f));
  }
  for (int64_t k0 = 0; k0 < 4; k0++) {
    for (int64_t k1 = 0; k1 < 3; k1++) {
      for (int64_t k2 = 0; k2 < 3; k2++) {
        at[k0 * 9 + k1 * 3 + k2] = (int32_t)(k0 * 110 + 22 - k1 * 10 - k2);
      }
    }
  }
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t c = 0; c < 4; c++) {
      for (int64_t u = 0; u < 11; u++) {
        const f32x8 x_1 = (u - 1) % 2 == 0 && (u - 1) >= 0 && u - 1 < 9 ? f32x8_load_n(out0 + chunk * 80 + c * 20 + ((u + 1) / 2) * 4 - 4, 4) : f32x8_splat(0.0f);
        const f32x8 select_2 = f32x8_select_lt(f32x8_splat(0.0f), x_1, f32x8_mul(x_1, f32x8_splat(2.0f)), f32x8_splat(0.0f));
        const f32x8 v_3 = (u - 1) % 2 == 0 && (u - 1) >= 0 && u - 1 < 9 ? select_2 : f32x8_splat(0.0f);
        f32x8_store_s(image + c * 110 + u * 10 + 1, v_3, 2, 4);
      }
    }
    for (int64_t q = 0; q < 6; q++) {
      tile_at_3x16(packed_1, image + q * 16, at, tile + q * 16, 36, 3, 96);
    }
    for (int64_t i = 0; i < 3; i++) {
      for (int64_t y = 0; y < 9; y++) {
        const f32x8 x_4 = f32x8_load(tile + i * 96 + y * 10);
        f32x8_store(out1 + chunk * 216 + i * 72 + y * 8, x_4);
      }
    }
  }
}

/* product_parts[2, 4, 3, 3, 3] from x[2, 3, 9, 8], out0[2, 4, 5, 4] */
KERNEL static void k4_matmul(const float *restrict x, const float *restrict out0, float *restrict product_parts, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float image[297];
  ADJOINT_ALIGNED float panel[20 * 8];
  ADJOINT_ALIGNED int32_t at[20];
  ADJOINT_ALIGNED float sums[27 * 8];
  for (int64_t y = 0; y < 5; y++) {
    for (int64_t y2 = 0; y2 < 4; y2++) {
      at[y * 4 + y2] = (int32_t)(y * 18 + y2 * 2);
    }
  }
  for (int64_t z = 0; z < 296; z += 8) {
    f32x8_store(image + z, f32x8_splat(0.0f));
  }
  f32x8_store_n(image + 296, f32x8_splat(0.0f), 1);
  for (int64_t z2 = 0; z2 < 160; z2 += 8) {
    f32x8_store(panel + z2, f32x8_splat(0.0f));
  }
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t z3 = 0; z3 < 216; z3 += 8) {
      f32x8_store(sums + z3, f32x8_splat(0.0f));
    }
    for (int64_t c = 0; c < 3; c++) {
      for (int64_t u = 0; u < 11; u++) {
        const f32x8 x_1 = (u - 1) >= 0 && u - 1 < 9 ? f32x8_load(x + chunk * 216 + c * 72 + u * 8 - 8) : f32x8_splat(0.0f);
        f32x8_store(image + c * 99 + u * 9 + 1, x_1);
      }
    }
    for (int64_t y3 = 0; y3 < 5; y3++) {
      for (int64_t y4 = 0; y4 < 4; y4++) {
        f32x8_store(panel + y3 * 32 + y4 * 8, f32x8_splat(0.0f));
        const f32x8 x_2 = f32x8_load_sn(out0 + chunk * 80 + y3 * 4 + y4, 20, 4);
        const f32x8 select_3 = f32x8_select_lt(f32x8_splat(0.0f), x_2, f32x8_mul(x_2, f32x8_splat(2.0f)), f32x8_splat(0.0f));
        f32x8_store_n(panel + y3 * 32 + y4 * 8, select_3, 4);
      }
    }
    for (int64_t c2 = 0; c2 < 3; c2++) {
      tile_places_3_3x8(image + c2 * 99, at, panel, sums + c2 * 72, 20, 9, 1);
    }
    for (int64_t c3 = 0; c3 < 3; c3++) {
      for (int64_t k = 0; k < 3; k++) {
        for (int64_t k2 = 0; k2 < 3; k2++) {
          const f32x8 x_4 = f32x8_load(sums + c3 * 72 + k * 24 + k2 * 8);
          f32x8_store_s(product_parts + chunk * 108 + c3 * 9 + k * 3 + k2, x_4, 27, 4);
        }
      }
    }
  }
}

/* out2[4, 3, 3, 3] from product_parts[2, 4, 3, 3, 3] */
KERNEL static void k5_product(const float *restrict product_parts, float *restrict out2, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  for (int64_t j = 0; j < 104; j += 8) {
    const f32x8 x_1 = f32x8_load(product_parts + j);
    const f32x8 x_2 = f32x8_load(product_parts + j + 108);
    f32x8_store(out2 + j, f32x8_add(x_1, x_2));
  }
  const f32x8 x_3 = f32x8_load(product_parts + 104);
  const f32x8 x_4 = f32x8_load_n(product_parts + 212, 4);
  f32x8_store_n(out2 + 104, f32x8_add(x_3, x_4), 4);
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
  float *const packed = (float *)(void *)(arena + 0); /* [1, 27, 4] */
  float *const packed_1 = (float *)(void *)(arena + 0); /* [1, 36, 3] */
  float *const product_parts = (float *)(void *)(arena + 0); /* [2, 4, 3, 3, 3] */

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k0_pack(args->w, packed, 0, 1));
  PROFILED(1, k1_matmul_relu(args->x, packed, args->out0, 0, 2));
  PROFILED(2, k2_pack(args->w, packed_1, 0, 1));
  PROFILED(3, k3_matmul(args->out0, packed_1, args->out1, 0, 2));
  PROFILED(4, k4_matmul(args->x, args->out0, product_parts, 0, 2));
  PROFILED(5, k5_product(product_parts, args->out2, 0, 1));
  return ADJOINT_OK;
}

uint64_t convolution_workspace(const convolution_args *args)
{
  (void)args;
  return (uint64_t)(896);
}

const char *convolution_describe(void)
{
  return "{\"name\": \"convolution\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"x\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [2, 3, 9, 8]}, {\"name\": \"w\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [4, 3, 3, 3]}, {\"name\": \"out0\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [2, 4, 5, 4]}, {\"name\": \"out1\", \"role\": \"output\", \"dty"
    "pe\": \"float32\", \"shape\": [2, 3, 9, 8]}, {\"name\": \"out2\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [4, 3, 3, 3]}]}";
}
