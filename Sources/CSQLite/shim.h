#pragma once
#include <sqlite3.h>

/* Variadic or macro-valued in C, so Swift can't see them. */
static inline sqlite3_destructor_type kerb_sqlite_transient(void) { return SQLITE_TRANSIENT; }
static inline sqlite3_destructor_type kerb_sqlite_static(void) { return SQLITE_STATIC; }
