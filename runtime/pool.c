/* A small fork-safe thread pool behind `parallel_for` of the C contract.

   One pool serves the process. Threads start when they are first wanted and never end. A job is published in one atomic
   word, `state`: job number, whether it is open, and how many pool threads are inside. A thread enters by adding one to
   the word while the job is open; the caller takes part as worker 0, closes the job when no chunk is left and waits only
   for threads that did enter. So a thread that sleeps or has lost its core delays nobody.

   Each worker owns a contiguous range of the chunks, which keeps the same data on the same core from one kernel to the
   next. It takes half of what is left each time; a worker whose range is empty steals the upper half of another's.
   Which worker runs which chunk has no influence on results: that is the contract of chunks. */

#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

@ABI@

enum { MOST_THREADS = 256, LINE = 64, SPIN_NS = 200000, PAUSES_PER_LOOK = 16 };

#define COUNT_MASK UINT64_C(0xffff)
#define OPEN UINT64_C(0x10000)
#define JOB UINT64_C(0x20000)

/* begin << 32 | end, alone on its cache line */
typedef struct {
  uint64_t span;
  char pad[LINE - sizeof(uint64_t)];
} range;

static struct {
  uint64_t state;
  char pad0[LINE - sizeof(uint64_t)];
  int32_t sleepers; /* threads waiting on `wake`, or about to */
  int32_t waiting;  /* the caller waits on `done`, or is about to */
  char pad1[LINE - 2 * sizeof(int32_t)];
  adjoint_chunks body;
  const void *task;
  int64_t base;
  int32_t workers;
  int32_t busy;    /* a caller owns the pool */
  int32_t threads; /* started so far; the owner of the pool alone changes it */
  int32_t hooked;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_cond_t done;
  range ranges[MOST_THREADS];
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

/* Worker number of the chunk that this thread is running, -1 outside of any. */
static __thread int32_t inside = -1;

uint64_t adjoint_clock(void);
void adjoint_parallel_for(adjoint_context *context, adjoint_chunks body, const void *task, int64_t chunks);
int32_t adjoint_pool_threads(void);

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");
#else
  sched_yield();
#endif
}

uint64_t adjoint_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Take the lower half (at least one) of a worker's own range. */
static int take(range *own, uint32_t *begin, uint32_t *end) {
  uint64_t seen = __atomic_load_n(&own->span, __ATOMIC_RELAXED);
  for (;;) {
    uint32_t lo = (uint32_t)(seen >> 32), hi = (uint32_t)seen;
    if (lo >= hi) return 0;
    uint32_t middle = lo + (hi - lo + 1) / 2;
    uint64_t rest = (uint64_t)middle << 32 | hi;
    if (__atomic_compare_exchange_n(&own->span, &seen, rest, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      *begin = lo;
      *end = middle;
      return 1;
    }
  }
}

/* Take the upper half (at least one) of another worker's range. */
static int steal(range *other, uint32_t *begin, uint32_t *end) {
  uint64_t seen = __atomic_load_n(&other->span, __ATOMIC_RELAXED);
  for (;;) {
    uint32_t lo = (uint32_t)(seen >> 32), hi = (uint32_t)seen;
    if (lo >= hi) return 0;
    uint32_t middle = lo + (hi - lo) / 2;
    uint64_t rest = (uint64_t)lo << 32 | middle;
    if (__atomic_compare_exchange_n(&other->span, &seen, rest, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      *begin = middle;
      *end = hi;
      return 1;
    }
  }
}

static void work(int32_t worker, int32_t workers) {
  adjoint_chunks body = pool.body;
  const void *task = pool.task;
  int64_t base = pool.base;
  uint32_t begin, end;
  inside = worker;
  while (take(&pool.ranges[worker], &begin, &end)) body(task, base + begin, base + end, worker);
  for (int32_t step = 1; step < workers; step++) {
    range *victim = &pool.ranges[(worker + step) % workers];
    while (steal(victim, &begin, &end)) body(task, base + begin, base + end, worker);
  }
  inside = -1;
}

/* Wait until the state differs from `seen` by a job: spin for a while, then sleep. */
static uint64_t next_job(uint64_t seen) {
  uint64_t deadline = 0, state;
  for (;;) {
    for (int i = 0; i < PAUSES_PER_LOOK; i++) {
      state = __atomic_load_n(&pool.state, __ATOMIC_ACQUIRE);
      if ((state & OPEN) && state / JOB != seen / JOB) return state;
      relax();
    }
    uint64_t now = adjoint_clock();
    if (!deadline) deadline = now + SPIN_NS;
    if (now >= deadline) break;
  }
  pthread_mutex_lock(&pool.mutex);
  __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
  for (;;) {
    state = __atomic_load_n(&pool.state, __ATOMIC_SEQ_CST);
    if ((state & OPEN) && state / JOB != seen / JOB) break;
    pthread_cond_wait(&pool.wake, &pool.mutex);
  }
  __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&pool.mutex);
  return state;
}

static void leave(void) {
  uint64_t state = __atomic_sub_fetch(&pool.state, 1, __ATOMIC_SEQ_CST);
  if ((state & (COUNT_MASK | OPEN)) == 0 && __atomic_load_n(&pool.waiting, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_broadcast(&pool.done);
    pthread_mutex_unlock(&pool.mutex);
  }
}

static void *thread_main(void *argument) {
  int32_t worker = (int32_t)(intptr_t)argument;
  uint64_t seen = 0; /* job numbers start at one */
  for (;;) {
    uint64_t state = next_job(seen);
    /* Success means that the job was still open, so its fields stand still until this thread leaves. */
    while ((state & OPEN) && state / JOB != seen / JOB) {
      if (__atomic_compare_exchange_n(&pool.state, &state, state + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        int32_t workers = pool.workers;
        seen = state;
        if (worker < workers) work(worker, workers);
        leave();
      }
    }
  }
  return NULL;
}

/* A forked child has the caller's thread only: forget the others, they start again when wanted. */
static void after_fork_in_child(void) {
  pool.state &= ~(JOB - 1);
  pool.sleepers = 0;
  pool.waiting = 0;
  pool.busy = 0;
  pool.threads = 0;
  inside = -1;
  pthread_mutex_init(&pool.mutex, NULL);
  pthread_cond_init(&pool.wake, NULL);
  pthread_cond_init(&pool.done, NULL);
}

/* Start threads up to `wanted` workers (the caller is one). If the system refuses, fewer do the same work. */
static void start(int32_t wanted) {
  if (!pool.hooked) {
    if (pthread_atfork(NULL, NULL, after_fork_in_child)) return; /* no threads that a fork could not survive */
    pool.hooked = 1;
  }
  sigset_t all, before;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&all); /* signals belong to the host's threads */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool.threads + 1 < wanted) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, thread_main, (void *)(intptr_t)(pool.threads + 1))) break;
    pool.threads++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
}

int32_t adjoint_pool_threads(void) { return __atomic_load_n(&pool.threads, __ATOMIC_RELAXED); }

static void run(int32_t workers) {
  uint64_t state = __atomic_load_n(&pool.state, __ATOMIC_RELAXED);
  __atomic_store_n(&pool.state, (state & ~(JOB - 1)) + JOB + OPEN, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
  }
  work(0, workers);
  if (!(__atomic_and_fetch(&pool.state, ~OPEN, __ATOMIC_SEQ_CST) & COUNT_MASK)) return;
  uint64_t deadline = 0;
  for (;;) {
    for (int i = 0; i < PAUSES_PER_LOOK; i++) {
      if (!(__atomic_load_n(&pool.state, __ATOMIC_ACQUIRE) & COUNT_MASK)) return;
      relax();
    }
    uint64_t now = adjoint_clock();
    if (!deadline) deadline = now + SPIN_NS;
    if (now >= deadline) break;
  }
  /* A thread lost its core inside a chunk: give up this one instead of spinning against it. */
  pthread_mutex_lock(&pool.mutex);
  __atomic_store_n(&pool.waiting, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&pool.state, __ATOMIC_SEQ_CST) & COUNT_MASK) pthread_cond_wait(&pool.done, &pool.mutex);
  __atomic_store_n(&pool.waiting, 0, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&pool.mutex);
}

void adjoint_parallel_for(adjoint_context *context, adjoint_chunks body, const void *task, int64_t chunks) {
  int64_t workers = context->workers < MOST_THREADS ? context->workers : MOST_THREADS;
  if (chunks <= 0) return;
  if (workers > chunks) workers = chunks;
  /* A nested call keeps the number of the worker that it runs in, which no other thread of the call has. */
  if (workers <= 1 || inside >= 0) {
    body(task, 0, chunks, inside >= 0 ? inside : 0);
    return;
  }
  /* A second caller does not wait for the first: the cores are taken, so it runs its chunks itself. */
  if (__atomic_exchange_n(&pool.busy, 1, __ATOMIC_ACQUIRE)) {
    inside = 0;
    body(task, 0, chunks, 0);
    inside = -1;
    return;
  }
  if (pool.threads + 1 < workers) start((int32_t)workers);
  pool.body = body;
  pool.task = task;
  pool.workers = (int32_t)workers;
  const int64_t most = INT64_C(1) << 31; /* ranges are 32 bits wide */
  for (pool.base = 0; pool.base < chunks; pool.base += most) {
    int64_t count = chunks - pool.base < most ? chunks - pool.base : most;
    for (int64_t w = 0; w < workers; w++) {
      uint64_t lo = (uint64_t)(count / workers * w + count % workers * w / workers);
      uint64_t hi = (uint64_t)(count / workers * (w + 1) + count % workers * (w + 1) / workers);
      __atomic_store_n(&pool.ranges[w].span, lo << 32 | hi, __ATOMIC_RELAXED);
    }
    run((int32_t)workers);
  }
  __atomic_store_n(&pool.busy, 0, __ATOMIC_RELEASE);
}
