#pragma once
/* A file system for SQLite, over the real one, whose faults are chosen: the Nth write, sync, open, read or truncate
   fails, once or for ever; a quota is full; a sync takes as long as a test wants; and what a power cut may leave is
   written out as files. Every instance is a VFS of its own name, so tests don't meet. All calls are safe from any
   thread. */
#include <stdint.h>

typedef struct fault_vfs fault_vfs;

enum {
  FAULT_OPEN = 1,
  FAULT_READ = 2,
  FAULT_WRITE = 4,
  FAULT_SYNC = 8,
  FAULT_TRUNCATE = 16,
};

fault_vfs *fault_vfs_new(const char *name);
/* Only when every file of it is closed. */
void fault_vfs_free(fault_vfs *vfs);

/* The operations of `kinds` that come after `pass` more fail, `times` of them (INT64_MAX: for ever). `code`: 0 is the
   kind's own SQLITE_IOERR, else what is answered. Replaces what was asked before; times 0 heals. A failed write has
   written half; a failed sync has lost what was to be synced, as a kernel may. */
void fault_vfs_fail(fault_vfs *vfs, int kinds, int64_t pass, int64_t times, int code);
/* Operations of `kinds` since the instance was made, and those that were made to fail. */
int64_t fault_vfs_count(fault_vfs *vfs, int kinds);
int64_t fault_vfs_failed(fault_vfs *vfs);
/* Files together may not grow beyond it: SQLITE_FULL. INT64_MAX: no quota. */
void fault_vfs_quota(fault_vfs *vfs, int64_t bytes);

/* The next operation of `kinds` waits until it is released. `held`: waits until one does; 0: the time passed. */
void fault_vfs_hold(fault_vfs *vfs, int kinds);
int fault_vfs_held(fault_vfs *vfs, int64_t timeout_ns);
void fault_vfs_release(fault_vfs *vfs);

/* From here on every write, truncation and sync is kept. Call before the files are opened. */
void fault_vfs_record(fault_vfs *vfs);
int64_t fault_vfs_events(fault_vfs *vfs);
/* Writes the files as a cut right after `events` events may leave them: all that was synced, and of the rest what
   `seed` chooses, in whole or in part, sector by sector. 0, or -1: can't write to `folder`. */
int fault_vfs_image(fault_vfs *vfs, int64_t events, uint64_t seed, const char *folder);

/* Takes the power from a mounted ext4: nothing that is not on the disk by now ever gets there. 0 or a negated errno. */
int fault_power_off(const char *mount_point);
/* What the calling thread mounts from here on is seen by itself and its children alone. A container or a build that
   begins meanwhile would take a copy of the mount with it, and keep a disk without power alive. 0 or a negated
   errno. */
int fault_own_mounts(void);

/* SQLite's own allocations in this process: install before its first use, then the `count` allocations after `after`
   more fail. */
void fault_malloc_install(void);
void fault_malloc_fail(int64_t after, int64_t count);
int64_t fault_malloc_failed(void);
