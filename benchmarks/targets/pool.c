/* A thread pool behind `parallel_for`: the caller takes part as worker 0, the others spin for a while after a region
 * and then sleep.  Work is handed out by chunk; every worker starts on its own contiguous share, so that two regions
 * over the same chunks meet the same caches, and helps the others once its own share is done. */
#define _POSIX_C_SOURCE 200809L
#include "target.h"

#include <pthread.h>
#include <stdlib.h>

#define MOST_WORKERS 64
#define SPINS 20000 /* roughly 100 to 300 microseconds: longer than the serial gaps inside one step */

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif

/* One share a cache line: the owner and a helper both count it up. */
typedef struct {
  int64_t next, end;
} ALIGNED share;

typedef struct pool pool;
typedef struct {
  pool *owner;
  int32_t worker;
  pthread_t thread;
} member;

struct pool {
  adjoint_context context;
  share shares[MOST_WORKERS];
  int32_t round ALIGNED;   /* counts up for every region; the workers wait for it to change */
  int32_t running ALIGNED; /* workers that have not finished the region */
  int32_t sleeping;
  int32_t stop;
  adjoint_chunks body;
  const void *task;
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  int32_t waiting; /* the caller sleeps until `running` is 0 */
  member members[MOST_WORKERS];
};

static void work(pool *p, int32_t worker) {
  int32_t workers = p->context.workers;
  for (int32_t i = 0; i < workers; i++) {
    share *s = &p->shares[(worker + i) % workers];
    for (;;) {
      if (__atomic_load_n(&s->next, __ATOMIC_RELAXED) >= s->end) break;
      int64_t chunk = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
      if (chunk >= s->end) break;
      p->body(p->task, chunk, chunk + 1, worker);
    }
  }
}

static void *member_main(void *argument) {
  member *m = argument;
  pool *p = m->owner;
  int32_t seen = 0;
  for (;;) {
    int32_t spins = 0;
    while (__atomic_load_n(&p->round, __ATOMIC_ACQUIRE) == seen) {
      if (++spins < SPINS) {
        PAUSE();
        continue;
      }
      pthread_mutex_lock(&p->lock);
      __atomic_add_fetch(&p->sleeping, 1, __ATOMIC_SEQ_CST);
      while (__atomic_load_n(&p->round, __ATOMIC_SEQ_CST) == seen) pthread_cond_wait(&p->wake, &p->lock);
      __atomic_sub_fetch(&p->sleeping, 1, __ATOMIC_SEQ_CST);
      pthread_mutex_unlock(&p->lock);
      spins = 0;
    }
    seen = __atomic_load_n(&p->round, __ATOMIC_ACQUIRE);
    if (p->stop) return NULL;
    work(p, m->worker);
    int32_t left = __atomic_sub_fetch(&p->running, 1, __ATOMIC_SEQ_CST);
    if (!left && __atomic_load_n(&p->waiting, __ATOMIC_SEQ_CST)) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->done);
      pthread_mutex_unlock(&p->lock);
    }
  }
}

static void release(pool *p) {
  __atomic_add_fetch(&p->round, 1, __ATOMIC_SEQ_CST);
  /* A worker that goes to sleep counts itself before it looks at `round` again, so one of the two sees the other. */
  if (__atomic_load_n(&p->sleeping, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
  }
}

static void pool_for(adjoint_context *context, adjoint_chunks body, const void *task, int64_t chunks) {
  pool *p = context->pool;
  int32_t workers = context->workers;
  if (chunks <= 1) {
    if (chunks == 1) body(task, 0, 1, 0);
    return;
  }
  for (int32_t w = 0; w < workers; w++) {
    p->shares[w].next = chunks * w / workers;
    p->shares[w].end = chunks * (w + 1) / workers;
  }
  p->body = body;
  p->task = task;
  p->running = workers - 1;
  release(p);
  work(p, 0);
  for (int32_t spins = 0; __atomic_load_n(&p->running, __ATOMIC_ACQUIRE); spins++) {
    if (spins < SPINS) {
      PAUSE();
      continue;
    }
    /* Some worker was put aside for another process; asleep, the caller leaves it this core to go on. */
    pthread_mutex_lock(&p->lock);
    __atomic_store_n(&p->waiting, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&p->running, __ATOMIC_SEQ_CST)) pthread_cond_wait(&p->done, &p->lock);
    __atomic_store_n(&p->waiting, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&p->lock);
  }
}

adjoint_context *pool_start(int32_t workers) {
  if (workers < 1 || workers > MOST_WORKERS) return NULL;
  void *memory;
  if (posix_memalign(&memory, 64, sizeof(pool))) return NULL;
  pool *p = memory;
  memset(p, 0, sizeof *p);
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  p->context.workers = workers;
  p->context.parallel_for = pool_for;
  p->context.pool = p;
  for (int32_t w = 1; w < workers; w++) {
    p->members[w].owner = p;
    p->members[w].worker = w;
    if (pthread_create(&p->members[w].thread, NULL, member_main, &p->members[w])) abort();
  }
  return &p->context;
}

void pool_stop(adjoint_context *context) {
  pool *p = context->pool;
  p->stop = 1;
  release(p);
  for (int32_t w = 1; w < context->workers; w++) pthread_join(p->members[w].thread, NULL);
  free(p);
}
