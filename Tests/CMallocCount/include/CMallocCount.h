#pragma once
#include <stdint.h>
/* Stands in front of the C library's allocator and counts, for the threads that ask for it. */
void kerb_malloc_count_start(void);
/* Allocations (malloc, calloc, realloc, aligned) of this thread since the start. */
int64_t kerb_malloc_count_stop(void);
