/* out[n, 5] from x[n, 5] */
KERNEL static void k0_relu(const float *restrict x, float *restrict out, int64_t n, int64_t begin, int64_t end)
{
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const int64_t stop_1 = i64_min(chunk * 13 + 13, ((n * 5 + 4095) / 4096));
    for (int64_t row = chunk * 13; row < stop_1; row++) {
      const int64_t stop_2 = i64_min(4096, (n * 5) - row * 4096);
      int64_t j = 0;
      for (; j + 8 <= stop_2; j += 8) {
        const f32x8 x_3 = f32x8_load(x + row * 4096 + j);
        const f32x8 relu_4 = f32x8_relu(f32x8_fma(x_3, f32x8_splat(2.0f), f32x8_splat(1.0f)));
        f32x8_store(out + row * 4096 + j, relu_4);
        ADJOINT_PREFETCH(x + row * 4096 + j + 4096);
      }
      if (j < stop_2) {
        const int64_t left_5 = stop_2 - j;
        const f32x8 x_6 = f32x8_load_n(x + row * 4096 + j, left_5);
        const f32x8 relu_7 = f32x8_relu(f32x8_fma(x_6, f32x8_splat(2.0f), f32x8_splat(1.0f)));
        f32x8_store_n(out + row * 4096 + j, relu_7, left_5);
        ADJOINT_PREFETCH(x + row * 4096 + j + 4096);
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

int32_t scale(const scale_args *args, void *workspace, adjoint_context *context)
{
  adjoint_context serial = {0};
  const int64_t n = args->n;

  (void)args;
  (void)workspace;
  if (!context) context = &serial;
  context->status = ADJOINT_OK;
  PROFILED(0, k0_relu(args->x, args->out, n, 0, ((((n * 5 + 4095) / 4096) + 12) / 13)));
  return ADJOINT_OK;
}

uint64_t scale_workspace(const scale_args *args)
{
  (void)args;
  return (uint64_t)(0);
}

const char *scale_describe(void)
{
  return "{\"name\": \"scale\", \"abi\": 1, \"target\": \"x86-64-v3\", \"arguments\": [{\"name\": \"x\", \"role\": \"input\", \"dtype\": \"float32\", \"shape\": [\"n\", 5]}, {\"name\": \"out\", \"role\": \"output\", \"dtype\": \"float32\", \"shape\": [\"n\", 5]}, {\"name\": \"n\", \"role\": \"extent\", \"dtype\": \"int64\", \"shape\": []}]}";
}
