/* The growing tape of the JIT: residuals of loops whose length is not known before they run. */

#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

@ABI@

enum { ALIGNMENT = 64, FIRST = 1 << 16 };

int32_t adjoint_grow(adjoint_context *context, uint64_t bytes);
void adjoint_tape_free(adjoint_context *context);

/* Make the tape hold at least `bytes` in all, keeping its content; it may move. ADJOINT_OK or ADJOINT_TAPE. */
int32_t adjoint_grow(adjoint_context *context, uint64_t bytes) {
  uint64_t wanted = context->tape_bytes ? context->tape_bytes : FIRST;
  if (bytes <= context->tape_bytes) return ADJOINT_OK;
  while (wanted < bytes) {
    if (wanted > UINT64_MAX / 2) return ADJOINT_TAPE;
    wanted *= 2;
  }
  void *larger;
  if (wanted > SIZE_MAX || posix_memalign(&larger, ALIGNMENT, (size_t)wanted)) return ADJOINT_TAPE;
  if (context->tape) {
    memcpy(larger, context->tape, (size_t)context->tape_bytes);
    free(context->tape);
  }
  context->tape = larger;
  context->tape_bytes = wanted;
  return ADJOINT_OK;
}

void adjoint_tape_free(adjoint_context *context) {
  free(context->tape);
  context->tape = NULL;
  context->tape_bytes = 0;
}
