#pragma once
#include <sqlite3.h>

/* Variadic or macro-valued in C, so Swift can't see them. */
static inline sqlite3_destructor_type kerb_sqlite_transient(void) { return SQLITE_TRANSIENT; }
static inline sqlite3_destructor_type kerb_sqlite_static(void) { return SQLITE_STATIC; }
/* Closing leaves the WAL as it is. */
static inline int kerb_sqlite_keep_log(sqlite3 *db) {
  return sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
