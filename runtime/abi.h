#ifndef ADJOINT_ABI
#define ADJOINT_ABI 1
enum { ADJOINT_OK = 0, ADJOINT_CHECK = 1, ADJOINT_TAPE = 2, ADJOINT_ARGUMENT = 3 };
typedef struct adjoint_context adjoint_context;
typedef void (*adjoint_chunks)(const void *task, int64_t begin, int64_t end, int32_t worker);
struct adjoint_context {
  int32_t workers;
  int32_t status;
  int32_t site;
  int32_t reserved;
  int64_t value;
  int64_t bound;
  void (*parallel_for)(adjoint_context *, adjoint_chunks, const void *task, int64_t chunks);
  void *pool;
  int32_t (*grow)(adjoint_context *, uint64_t bytes);
  void *tape;
  uint64_t tape_bytes;
  uint64_t (*clock)(void);
  uint64_t *counters;
};
#endif
