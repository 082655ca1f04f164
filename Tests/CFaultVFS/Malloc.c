#include "FaultVFS.h"

#include <pthread.h>
#include <sqlite3.h>

static sqlite3_mem_methods real;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int64_t pass, times, failed;

static int fails(void) {
  int answer = 0;
  pthread_mutex_lock(&mutex);
  if (times > 0) {
    if (pass > 0) {
      pass -= 1;
    } else {
      if (times != INT64_MAX) times -= 1;
      failed += 1;
      answer = 1;
    }
  }
  pthread_mutex_unlock(&mutex);
  return answer;
}

static void *allocate(int bytes) { return fails() ? NULL : real.xMalloc(bytes); }
static void *reallocate(void *old, int bytes) { return fails() ? NULL : real.xRealloc(old, bytes); }

void fault_malloc_install(void) {
  sqlite3_shutdown();
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  sqlite3_mem_methods own = real;
  own.xMalloc = allocate;
  own.xRealloc = reallocate;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &own);
  sqlite3_initialize();
}

void fault_malloc_fail(int64_t after, int64_t count) {
  pthread_mutex_lock(&mutex);
  pass = after;
  times = count;
  pthread_mutex_unlock(&mutex);
}

int64_t fault_malloc_failed(void) {
  pthread_mutex_lock(&mutex);
  int64_t answer = failed;
  pthread_mutex_unlock(&mutex);
  return answer;
}
