#include "FaultVFS.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILES_MAX = 16, NAME_MAX_BYTES = 256, SECTOR = 512 };

enum event_kind { EVENT_WRITE, EVENT_TRUNCATE, EVENT_SYNC, EVENT_DELETE };

typedef struct {
  enum event_kind kind;
  int file;
  int64_t offset;
  int64_t length;
  uint8_t *bytes;
} event;

/* What an instance knows of a path; it outlives the file's handles. */
typedef struct {
  char name[NAME_MAX_BYTES];
  int64_t size;
  /* As it was when it was first opened: that much is taken for durable. */
  uint8_t *before;
  int64_t before_size;
} known_file;

struct fault_vfs {
  sqlite3_vfs vfs;
  sqlite3_vfs *real;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int64_t counts[5];
  int fail_kinds, fail_code;
  int64_t fail_pass, fail_times, failed;
  int64_t quota;
  int hold_kinds, is_held;
  int is_recording;
  event *events;
  int64_t event_count, event_room;
  known_file files[FILES_MAX];
  int file_count;
};

typedef struct {
  sqlite3_file base;
  fault_vfs *vfs;
  int file;
  sqlite3_file *real;
} fault_file;

static int index_of(int kind) { return __builtin_ctz((unsigned)kind); }

static int code_of(int kind) {
  switch (kind) {
  case FAULT_OPEN: return SQLITE_CANTOPEN;
  case FAULT_READ: return SQLITE_IOERR_READ;
  case FAULT_WRITE: return SQLITE_IOERR_WRITE;
  case FAULT_SYNC: return SQLITE_IOERR_FSYNC;
  default: return SQLITE_IOERR_TRUNCATE;
  }
}

/* Counts an operation, holds it up, and says how it ends. Mutex held. */
static int enter(fault_vfs *v, int kind) {
  v->counts[index_of(kind)] += 1;
  if (v->hold_kinds & kind) {
    v->is_held = 1;
    pthread_cond_broadcast(&v->changed);
    while (v->hold_kinds & kind) pthread_cond_wait(&v->changed, &v->mutex);
    v->is_held = 0;
  }
  if (!(v->fail_kinds & kind) || v->fail_times == 0) return SQLITE_OK;
  if (v->fail_pass > 0) {
    v->fail_pass -= 1;
    return SQLITE_OK;
  }
  if (v->fail_times != INT64_MAX) v->fail_times -= 1;
  v->failed += 1;
  return v->fail_code ? v->fail_code : code_of(kind);
}

static void keep(fault_vfs *v, event happened, const void *bytes) {
  if (!v->is_recording) return;
  if (v->event_count == v->event_room) {
    v->event_room = v->event_room ? 2 * v->event_room : 1024;
    v->events = realloc(v->events, (size_t)v->event_room * sizeof(event));
    if (!v->events) abort();
  }
  if (bytes) {
    happened.bytes = malloc((size_t)happened.length);
    if (!happened.bytes) abort();
    memcpy(happened.bytes, bytes, (size_t)happened.length);
  }
  v->events[v->event_count++] = happened;
}

static int64_t taken(fault_vfs *v) {
  int64_t sum = 0;
  for (int i = 0; i < v->file_count; i++) sum += v->files[i].size;
  return sum;
}

static int file_close(sqlite3_file *base) {
  fault_file *f = (fault_file *)base;
  return f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *bytes, int length, sqlite3_int64 offset) {
  fault_file *f = (fault_file *)base;
  pthread_mutex_lock(&f->vfs->mutex);
  int code = enter(f->vfs, FAULT_READ);
  pthread_mutex_unlock(&f->vfs->mutex);
  return code ? code : f->real->pMethods->xRead(f->real, bytes, length, offset);
}

static int file_write(sqlite3_file *base, const void *bytes, int length, sqlite3_int64 offset) {
  fault_file *f = (fault_file *)base;
  fault_vfs *v = f->vfs;
  pthread_mutex_lock(&v->mutex);
  int code = enter(v, FAULT_WRITE);
  int64_t end = offset + length;
  known_file *known = &v->files[f->file];
  if (!code && end > known->size && taken(v) + end - known->size > v->quota) code = SQLITE_FULL;
  /* Half of a failed write has arrived: nobody may count on nothing. */
  int written = code == SQLITE_FULL ? 0 : code ? length / 2 : length;
  if (written > 0) {
    int real = f->real->pMethods->xWrite(f->real, bytes, written, offset);
    if (!code) code = real;
    if (real == SQLITE_OK) {
      if (offset + written > known->size) known->size = offset + written;
      keep(v, (event){EVENT_WRITE, f->file, offset, written, NULL}, bytes);
    }
  }
  pthread_mutex_unlock(&v->mutex);
  return code;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size) {
  fault_file *f = (fault_file *)base;
  fault_vfs *v = f->vfs;
  pthread_mutex_lock(&v->mutex);
  int code = enter(v, FAULT_TRUNCATE);
  if (!code) {
    code = f->real->pMethods->xTruncate(f->real, size);
    if (!code) {
      v->files[f->file].size = size;
      keep(v, (event){EVENT_TRUNCATE, f->file, size, 0, NULL}, NULL);
    }
  }
  pthread_mutex_unlock(&v->mutex);
  return code;
}

/* A failed sync is not kept: what it was for stays unsynced for ever, also when a later one succeeds without writing
   it again. */
static void forget_unsynced(fault_vfs *v, int file) {
  for (int64_t i = v->event_count - 1; i >= 0; i--) {
    event *e = &v->events[i];
    if (e->file != file) continue;
    if (e->kind == EVENT_SYNC) break;
    e->file = -1;
  }
}

static int file_sync(sqlite3_file *base, int flags) {
  fault_file *f = (fault_file *)base;
  fault_vfs *v = f->vfs;
  pthread_mutex_lock(&v->mutex);
  int code = enter(v, FAULT_SYNC);
  if (code) {
    forget_unsynced(v, f->file);
  } else {
    code = f->real->pMethods->xSync(f->real, flags);
    if (!code) keep(v, (event){EVENT_SYNC, f->file, 0, 0, NULL}, NULL);
  }
  pthread_mutex_unlock(&v->mutex);
  return code;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
  fault_file *f = (fault_file *)base;
  return f->real->pMethods->xFileSize(f->real, size);
}

/* One connection has each file (the store's own lock sees to that), so its locks need not reach the real one; a file
   that can only be read could not be locked anyway. */
static int file_lock(sqlite3_file *base, int level) { (void)base, (void)level; return SQLITE_OK; }

static int file_check_lock(sqlite3_file *base, int *answer) {
  (void)base;
  *answer = 0;
  return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int operation, void *argument) {
  fault_file *f = (fault_file *)base;
  return f->real->pMethods->xFileControl(f->real, operation, argument);
}

static int file_sector_size(sqlite3_file *base) {
  fault_file *f = (fault_file *)base;
  return f->real->pMethods->xSectorSize(f->real);
}

static int file_characteristics(sqlite3_file *base) {
  fault_file *f = (fault_file *)base;
  return f->real->pMethods->xDeviceCharacteristics(f->real);
}

/* Version 1: no shared memory and no mapped files, which the store does without. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* The instance's file of that path; mutex held. */
static int known(fault_vfs *v, const char *path) {
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  for (int i = 0; i < v->file_count; i++)
    if (strcmp(v->files[i].name, name) == 0) return i;
  if (v->file_count == FILES_MAX || strlen(name) >= NAME_MAX_BYTES) return -1;
  known_file *new = &v->files[v->file_count];
  strcpy(new->name, name);
  FILE *file = v->is_recording ? fopen(path, "r") : NULL;
  if (file) {
    fseek(file, 0, SEEK_END);
    new->before_size = ftell(file);
    rewind(file);
    new->before = malloc((size_t)new->before_size + 1);
    if (!new->before || fread(new->before, 1, (size_t)new->before_size, file) != (size_t)new->before_size) abort();
    fclose(file);
  }
  return v->file_count++;
}

static int vfs_open(sqlite3_vfs *base, const char *path, sqlite3_file *out, int flags, int *out_flags) {
  fault_vfs *v = (fault_vfs *)base;
  fault_file *f = (fault_file *)out;
  out->pMethods = NULL;
  pthread_mutex_lock(&v->mutex);
  int code = enter(v, FAULT_OPEN);
  int file = code || !path ? -1 : known(v, path);
  pthread_mutex_unlock(&v->mutex);
  if (code) return code;
  if (file < 0) return SQLITE_CANTOPEN;
  f->vfs = v;
  f->file = file;
  f->real = (sqlite3_file *)(f + 1);
  code = v->real->xOpen(v->real, path, f->real, flags, out_flags);
  if (code) return code;
  sqlite3_int64 size = 0;
  f->real->pMethods->xFileSize(f->real, &size);
  pthread_mutex_lock(&v->mutex);
  v->files[file].size = size;
  pthread_mutex_unlock(&v->mutex);
  out->pMethods = &methods;
  return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *path, int is_synced) {
  fault_vfs *v = (fault_vfs *)base;
  pthread_mutex_lock(&v->mutex);
  int code = v->real->xDelete(v->real, path, is_synced);
  int file = code ? -1 : known(v, path);
  if (file >= 0) {
    v->files[file].size = 0;
    keep(v, (event){EVENT_DELETE, file, 0, 0, NULL}, NULL);
  }
  pthread_mutex_unlock(&v->mutex);
  return code;
}

static int vfs_access(sqlite3_vfs *base, const char *path, int flags, int *answer) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xAccess(v->real, path, flags, answer);
}

static int vfs_path(sqlite3_vfs *base, const char *path, int room, char *out) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xFullPathname(v->real, path, room, out);
}

static int vfs_random(sqlite3_vfs *base, int count, char *out) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xRandomness(v->real, count, out);
}

static int vfs_sleep(sqlite3_vfs *base, int us) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xSleep(v->real, us);
}

static int vfs_time(sqlite3_vfs *base, double *out) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xCurrentTime(v->real, out);
}

static int vfs_error(sqlite3_vfs *base, int room, char *out) {
  fault_vfs *v = (fault_vfs *)base;
  return v->real->xGetLastError(v->real, room, out);
}

fault_vfs *fault_vfs_new(const char *name) {
  sqlite3_initialize();
  fault_vfs *v = calloc(1, sizeof *v);
  if (!v) abort();
  v->real = sqlite3_vfs_find(NULL);
  pthread_mutex_init(&v->mutex, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&v->changed, &attributes);
  v->quota = INT64_MAX;
  v->vfs.iVersion = 1;
  v->vfs.szOsFile = (int)sizeof(fault_file) + v->real->szOsFile;
  v->vfs.mxPathname = v->real->mxPathname;
  v->vfs.zName = strdup(name);
  v->vfs.xOpen = vfs_open;
  v->vfs.xDelete = vfs_delete;
  v->vfs.xAccess = vfs_access;
  v->vfs.xFullPathname = vfs_path;
  v->vfs.xRandomness = vfs_random;
  v->vfs.xSleep = vfs_sleep;
  v->vfs.xCurrentTime = vfs_time;
  v->vfs.xGetLastError = vfs_error;
  sqlite3_vfs_register(&v->vfs, 0);
  return v;
}

void fault_vfs_free(fault_vfs *v) {
  sqlite3_vfs_unregister(&v->vfs);
  for (int64_t i = 0; i < v->event_count; i++) free(v->events[i].bytes);
  for (int i = 0; i < v->file_count; i++) free(v->files[i].before);
  free(v->events);
  free((void *)v->vfs.zName);
  pthread_cond_destroy(&v->changed);
  pthread_mutex_destroy(&v->mutex);
  free(v);
}

void fault_vfs_fail(fault_vfs *v, int kinds, int64_t pass, int64_t times, int code) {
  pthread_mutex_lock(&v->mutex);
  v->fail_kinds = kinds;
  v->fail_pass = pass;
  v->fail_times = times;
  v->fail_code = code;
  pthread_mutex_unlock(&v->mutex);
}

int64_t fault_vfs_count(fault_vfs *v, int kinds) {
  pthread_mutex_lock(&v->mutex);
  int64_t sum = 0;
  for (int i = 0; i < 5; i++)
    if (kinds & (1 << i)) sum += v->counts[i];
  pthread_mutex_unlock(&v->mutex);
  return sum;
}

int64_t fault_vfs_failed(fault_vfs *v) {
  pthread_mutex_lock(&v->mutex);
  int64_t failed = v->failed;
  pthread_mutex_unlock(&v->mutex);
  return failed;
}

void fault_vfs_quota(fault_vfs *v, int64_t bytes) {
  pthread_mutex_lock(&v->mutex);
  v->quota = bytes;
  pthread_mutex_unlock(&v->mutex);
}

void fault_vfs_hold(fault_vfs *v, int kinds) {
  pthread_mutex_lock(&v->mutex);
  v->hold_kinds = kinds;
  pthread_mutex_unlock(&v->mutex);
}

int fault_vfs_held(fault_vfs *v, int64_t timeout_ns) {
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  int64_t ns = end.tv_nsec + timeout_ns;
  end.tv_sec += ns / 1000000000;
  end.tv_nsec = ns % 1000000000;
  pthread_mutex_lock(&v->mutex);
  while (!v->is_held && pthread_cond_timedwait(&v->changed, &v->mutex, &end) != ETIMEDOUT) {}
  int answer = v->is_held;
  pthread_mutex_unlock(&v->mutex);
  return answer;
}

void fault_vfs_release(fault_vfs *v) {
  pthread_mutex_lock(&v->mutex);
  v->hold_kinds = 0;
  pthread_cond_broadcast(&v->changed);
  pthread_mutex_unlock(&v->mutex);
}

void fault_vfs_record(fault_vfs *v) {
  pthread_mutex_lock(&v->mutex);
  v->is_recording = 1;
  pthread_mutex_unlock(&v->mutex);
}

int64_t fault_vfs_events(fault_vfs *v) {
  pthread_mutex_lock(&v->mutex);
  int64_t count = v->event_count;
  pthread_mutex_unlock(&v->mutex);
  return count;
}

/* SplitMix64. */
static uint64_t chance(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

typedef struct {
  uint8_t *bytes;
  int64_t size, room;
} image;

static void image_write(image *i, int64_t offset, const uint8_t *bytes, int64_t length) {
  int64_t end = offset + length;
  if (end > i->room) {
    i->room = 2 * end;
    i->bytes = realloc(i->bytes, (size_t)i->room);
    if (!i->bytes) abort();
  }
  if (end > i->size) memset(i->bytes + i->size, 0, (size_t)(end - i->size));
  memcpy(i->bytes + offset, bytes, (size_t)length);
  if (end > i->size) i->size = end;
}

/* What a write that was under way leaves: all of it, nothing, or any of its sectors. */
static void image_tear(image *i, const event *e, uint64_t *seed) {
  switch (chance(seed) % 3) {
  case 0: return;
  case 1: image_write(i, e->offset, e->bytes, e->length); return;
  default:
    for (int64_t at = 0; at < e->length;) {
      int64_t part = SECTOR - (e->offset + at) % SECTOR;
      if (part > e->length - at) part = e->length - at;
      if (chance(seed) & 1) image_write(i, e->offset + at, e->bytes + at, part);
      at += part;
    }
  }
}

int fault_vfs_image(fault_vfs *v, int64_t events, uint64_t seed, const char *folder) {
  pthread_mutex_lock(&v->mutex);
  int outcome = 0;
  if (events > v->event_count) events = v->event_count;
  for (int file = 0; file < v->file_count; file++) {
    known_file *known = &v->files[file];
    image made = {0};
    if (known->before) image_write(&made, 0, known->before, known->before_size);
    int64_t synced = -1, synced_any = -1;
    for (int64_t i = 0; i < events; i++) {
      if (v->events[i].kind != EVENT_SYNC) continue;
      synced_any = i;
      if (v->events[i].file == file) synced = i;
    }
    int is_there = known->before != NULL || synced >= 0;
    for (int64_t i = 0; i < events; i++) {
      const event *e = &v->events[i];
      if (e->file != file || e->kind == EVENT_SYNC) continue;
      if (e->kind == EVENT_DELETE) {
        /* A journalling file system keeps its own order: with the next sync of any file a name is gone. */
        if (i > synced_any && chance(&seed) % 2) continue;
        made.size = 0;
        is_there = 0;
        continue;
      }
      if (i > synced && chance(&seed) % 4 == 0) continue;
      is_there = 1;
      if (e->kind == EVENT_TRUNCATE) {
        if (e->offset < made.size) made.size = e->offset;
      } else if (i < synced) {
        image_write(&made, e->offset, e->bytes, e->length);
      } else {
        image_tear(&made, e, &seed);
      }
    }
    if (is_there) {
      char path[PATH_MAX];
      snprintf(path, sizeof path, "%s/%s", folder, known->name);
      FILE *out = fopen(path, "w");
      if (!out || fwrite(made.bytes, 1, (size_t)made.size, out) != (size_t)made.size) outcome = -1;
      if (out && fclose(out) != 0) outcome = -1;
    }
    free(made.bytes);
  }
  pthread_mutex_unlock(&v->mutex);
  return outcome;
}
