/* carry_1[3, 9], step_1[3] from carry[3, 9], w[9, 9], step[3, 9] */
KERNEL static void k0_product_tanh_total(const float *restrict carry, const float *restrict w, const float *restrict step, float *restrict carry_1, float *restrict step_1, int64_t begin, int64_t end)
{
  (void)begin;
  (void)end;
  f32x8 acc0;
  ADJOINT_ALIGNED float row0[9];
  for (int64_t row = 0; row < 3; row++) {
    f32x8_store(row0, f32x8_splat(0.0f));
    f32x8_store_n(row0 + 8, f32x8_splat(0.0f), 1);
    for (int64_t r0 = 0; r0 < 9; r0++) {
      const float c_1 = carry[r0 + row * 9];
      const f32x8 x_2 = f32x8_load(w + r0 * 9);
      f32x8_store(row0, f32x8_fma(f32x8_splat(c_1), x_2, f32x8_load(row0)));
      const f32x8 x_3 = f32x8_load_n(w + r0 * 9 + 8, 1);
      f32x8_store_n(row0 + 8, f32x8_fma(f32x8_splat(c_1), x_3, f32x8_load_n(row0 + 8, 1)), 1);
    }
    acc0 = f32x8_splat(0.0f);
    const f32x8 x_4 = f32x8_load(row0);
    const f32x8 x_5 = f32x8_load(step + row * 9);
    const f32x8 tanh_6 = f32x8_tanh(f32x8_add(x_4, x_5));
    f32x8_store(carry_1 + row * 9, tanh_6);
    acc0 = f32x8_add(acc0, tanh_6);
    const f32x8 x_7 = f32x8_load_n(row0 + 8, 1);
    const f32x8 x_8 = f32x8_load_n(step + row * 9 + 8, 1);
    const f32x8 tanh_9 = f32x8_tanh(f32x8_add(x_7, x_8));
    f32x8_store_n(carry_1 + row * 9 + 8, tanh_9, 1);
    acc0 = f32x8_add(acc0, f32x8_select(m32x8_first_n(1), tanh_9, f32x8_splat(0.0f)));
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
    PROFILED(0, k0_product_tanh_total(carry, args->w, step, carry_1, step_1, 0, 1));
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
