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
  }
  f32x8_store(c, c0_0);
  f32x8_store(c + 8, c0_1);
  f32x8_store(c + result_stride, c1_0);
  f32x8_store(c + (result_stride + 8), c1_1);
  f32x8_store(c + (result_stride * 2), c2_0);
  f32x8_store(c + (result_stride * 2 + 8), c2_1);
}

/* carry_1[3, 9] from w[9, 9], carry[3, 9], step[3, 9] */
KERNEL static void k0_matmul_tanh(const float *restrict w, const float *restrict carry, const float *restrict step, float *restrict carry_1, int64_t begin, int64_t end)
{
  ADJOINT_ALIGNED float edge[9 * 16];
  ADJOINT_ALIGNED float tile[3 * 16];
  for (int64_t chunk = begin; chunk < end; chunk++) {
    for (int64_t k = 0; k < 9; k++) {
      for (int64_t z = 0; z < 16; z += 8) {
        f32x8_store(edge + k * 16 + z, f32x8_splat(0.0f));
      }
      const f32x8 x_1 = f32x8_load(w + k * 9);
      f32x8_store(edge + k * 16, x_1);
      const f32x8 x_2 = f32x8_load_n(w + k * 9 + 8, 1);
      f32x8_store_n(edge + k * 16 + 8, x_2, 1);
    }
    tile_3x16(carry, edge, tile, 9, 9, 1, 16, 16);
    for (int64_t i = 0; i < 3; i++) {
      const f32x8 x_3 = f32x8_load(tile + i * 16);
      const f32x8 x_4 = f32x8_load(step + i * 9);
      f32x8_store(carry_1 + i * 9, f32x8_tanh(f32x8_add(x_3, x_4)));
      const f32x8 x_5 = f32x8_load(tile + i * 16 + 8);
      const f32x8 x_6 = f32x8_load_n(step + i * 9 + 8, 1);
      f32x8_store_n(carry_1 + i * 9 + 8, f32x8_tanh(f32x8_add(x_5, x_6)), 1);
    }
  }
}

/* step_1[3] from carry_1[3, 9] */
KERNEL static void k1_total(const float *restrict carry_1, float *restrict step_1, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  f32x8 acc0;
  for (int64_t row = 0; row < 3; row++) {
    acc0 = f32x8_splat(0.0f);
    const f32x8 x_1 = f32x8_load(carry_1 + row * 9);
    acc0 = f32x8_add(acc0, x_1);
    const f32x8 x_2 = f32x8_load_n(carry_1 + row * 9 + 8, 1);
    acc0 = f32x8_add(acc0, f32x8_select(m32x8_first_n(1), x_2, f32x8_splat(0.0f)));
    step_1[row] = f32x8_hsum(acc0);
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

int32_t recurrence(const recurrence_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};
  char *const arena = workspace;
  float *carry = (float *)(void *)(arena + 0); /* [3, 9] */
  float *carry_1 = (float *)(void *)(arena + 128); /* [3, 9] */

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  memcpy(carry, args->h0, (size_t)(108));
  for (int64_t t = 0; t < 6; t++) {
    const float *const step = args->xs + t * 27;
    float *const step_1 = args->out1 + t * 3;
    PROFILED(0, k0_matmul_tanh(args->w, carry, step, carry_1, 0, 1));
    PROFILED(1, k1_total(carry_1, step_1, 0, 1));
    float *const carry_swap = carry;
    carry = carry_1;
    carry_1 = carry_swap;
  }
  memcpy(args->out0, carry, (size_t)(108));
  return ADJOINT_OK;
}

uint64_t recurrence_workspace(const recurrence_args *args)
{
  (void)args;
  return (uint64_t)(256);
}

const char *recurrence_describe(void)
{
  return "{\"name\": \"recurrence\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"xs\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [6, 3, 9]}, {\"name\": \"h0\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [3, 9]}, {\"name\": \"w\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [9, 9]}, {\"name\": \"out0\", \"role\": \"output\", \"dtype\": \"float32\", \"sha"
    "pe\": [3, 9]}, {\"name\": \"out1\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [6, 3]}]}";
}
