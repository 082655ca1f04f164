#define _GNU_SOURCE
#include "CLoop.h"

#include <errno.h>
#include <modbus/modbus.h>
#include <time.h>

static int64_t now(clockid_t id) {
  struct timespec time;
  clock_gettime(id, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int read_one(modbus_t *line, const int32_t *request) {
  uint16_t words[125];
  uint8_t bits[2000];
  modbus_set_slave(line, request[0]);
  switch (request[1]) {
  case 1: return modbus_read_bits(line, request[2], request[3], bits);
  case 2: return modbus_read_input_bits(line, request[2], request[3], bits);
  case 3: return modbus_read_registers(line, request[2], request[3], words);
  case 4: return modbus_read_input_registers(line, request[2], request[3], words);
  }
  return -1;
}

static void wait_until(int64_t until) {
  struct timespec moment = {until / 1000000000, until % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL) == EINTR) {}
}

int64_t kerb_libmodbus_rounds(
    const char *port, int baud, int64_t silence_ns, int64_t every_ns, int64_t run_ns, const int32_t *requests,
    int count, int64_t *cpu_ns) {
  modbus_t *line = modbus_new_rtu(port, baud, 'N', 8, 1);
  if (!line || modbus_connect(line) < 0) return -1;
  int64_t done = 0;
  read_one(line, requests); /* the first waits out whatever was on the line */
  int64_t began = now(CLOCK_MONOTONIC) + silence_ns, cpu = now(CLOCK_THREAD_CPUTIME_ID);
  wait_until(began);
  for (int64_t round = 0; round * every_ns < run_ns; round++) {
    wait_until(began + round * every_ns);
    for (int next = 0; next < count; next++) {
      if (now(CLOCK_MONOTONIC) - began >= run_ns) break;
      if (read_one(line, requests + 4 * next) == requests[4 * next + 3]) done++;
      wait_until(now(CLOCK_MONOTONIC) + silence_ns);
    }
  }
  *cpu_ns = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
  modbus_close(line);
  modbus_free(line);
  return done;
}

int64_t kerb_libmodbus_loop(
    const char *port, int baud, int64_t silence_ns, int64_t run_ns, const int32_t *requests, int count, int64_t *cpu_ns,
    int64_t *done_of_request) {
  modbus_t *line = modbus_new_rtu(port, baud, 'N', 8, 1);
  if (!line || modbus_connect(line) < 0) return -1;
  int64_t done = 0, began = 0, cpu = 0;
  for (int next = 0; !began || now(CLOCK_MONOTONIC) - began < run_ns; next = (next + 1) % count) {
    const int32_t *request = requests + 4 * next;
    int got = read_one(line, request);
    if (got == request[3] && began) {
      done++;
      done_of_request[next]++;
    }
    wait_until(now(CLOCK_MONOTONIC) + silence_ns);
    if (!began) { /* the first waits out whatever was on the line */
      began = now(CLOCK_MONOTONIC);
      cpu = now(CLOCK_THREAD_CPUTIME_ID);
    }
  }
  *cpu_ns = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
  modbus_close(line);
  modbus_free(line);
  return done;
}
