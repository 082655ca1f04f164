#pragma once
#include <stdint.h>
/* What a plain program on libmodbus would do, for comparison: read, wait for the silence, read the next.
   `requests`: four numbers each (unit, function 1 to 4, address, count). Returns the transactions that went well;
   `cpu_ns` is this thread's CPU time. */
int64_t kerb_libmodbus_loop(
    const char *port, int baud, int64_t silence_ns, int64_t run_ns, const int32_t *requests, int count, int64_t *cpu_ns,
    int64_t *done_of_request);

/* The same requests once in every_ns, for run_ns. The count of those that were answered, or -1. */
int64_t kerb_libmodbus_rounds(
    const char *port, int baud, int64_t silence_ns, int64_t every_ns, int64_t run_ns, const int32_t *requests,
    int count, int64_t *cpu_ns);
