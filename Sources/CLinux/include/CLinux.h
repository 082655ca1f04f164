#pragma once
/* What Glibc's Swift import can't say: variadic calls, macros, and structures that hide behind feature tests.
   Every function returns 0 or a count, or a negated errno. */
#include "CLinuxSockets.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Before the first thread: glibc keeps two arenas for all of them, and gives blocks of that size back at once. */
void kerb_malloc_settle(size_t block_bytes);

/* Time. Nanoseconds on CLOCK_MONOTONIC / CLOCK_REALTIME. */
int64_t kerb_monotonic_ns(void);
int64_t kerb_realtime_ns(void);
/* 1: the kernel's clock is disciplined (adjtimex without STA_UNSYNC), 0: it is not. */
int kerb_clock_synchronised(void);

/* Unix seconds of a date as HTTP writes it (IMF-fixdate, RFC 9110, section 5.6.7); -1: it is none. */
int64_t kerb_http_date(const char *text);

/* A mutex and a condition on the monotonic clock, in one preallocated block. */
typedef struct kerb_gate kerb_gate;
kerb_gate *kerb_gate_new(void);
void kerb_gate_free(kerb_gate *gate);
void kerb_gate_lock(kerb_gate *gate);
void kerb_gate_unlock(kerb_gate *gate);
void kerb_gate_signal(kerb_gate *gate);
/* Call with the gate locked. 1: signalled (or spurious), 0: the deadline passed. INT64_MAX waits for ever. */
int kerb_gate_wait_until(kerb_gate *gate, int64_t monotonic_ns);

/* Zeros where functions that were called before have had their variables. */
void kerb_wipe_stack(void);

void kerb_thread_name(const char *name);
/* How late the kernel may wake this thread, to save power; the default of 50 us is a lot where bytes are paced. */
void kerb_thread_timer_slack(int64_t ns);
/* Blocks every signal in the calling thread and in those it starts. */
void kerb_block_signals(void);
/* Waits up to timeout_ms for one of SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD; 0 on time-out, else the number. */
int kerb_wait_signal(int timeout_ms);

/* Lines. */
int kerb_tty_exclusive(int fd);            /* TIOCEXCL */
int kerb_tty_share(int fd);                /* TIOCNXCL */
int kerb_tty_raw(int fd, int baud, char parity, int stop_bits);
/* RTS drives the RS-485 transceiver in the kernel (TIOCSRS485); inverted: low while sending. -ENOTTY where the driver
   has none. */
int kerb_tty_rs485(int fd, int inverted);
/* 0: the kernel can do so; changes nothing. */
int kerb_tty_has_rs485(int fd);
/* Hand bytes over as they come: ASYNC_LOW_LATENCY, and an FTDI adapter's latency timer at 1 ms, as far as driver and
   rights allow. 0: one of them took. */
int kerb_tty_low_latency(int fd);
int kerb_fd_flock(int fd);                 /* LOCK_EX | LOCK_NB */
int kerb_terminal_size(int fd, int *columns, int *rows);
int kerb_tty_baud(int fd);                 /* What the line is set to; 0: a speed of no name here. */
int kerb_fd_nonblocking(int fd);
int kerb_pty_open(int *master, char *slave_path, size_t slave_path_size);
/* Bytes that can be read now, or a negated errno. */
int kerb_fd_readable(int fd);
/* poll() for input: 1 readable, 0 time-out, or a negated errno; EPIPE for a hang-up without data. */
int kerb_fd_wait_readable(int fd, int64_t timeout_ns);
/* poll() for input on several descriptors until a monotonic time; INT64_MAX waits for ever. The count that are
   ready. */
struct pollfd;
int kerb_poll_until(struct pollfd *polled, size_t count, int64_t monotonic_ns);

/* A bell that ends a wait in poll(): a descriptor (eventfd), close on exec. */
int kerb_bell_new(void);
void kerb_bell_ring(int bell);
/* Waits for input on the descriptor, or the bell, until a monotonic time (INT64_MAX: for ever). Silences the bell. */
int kerb_wait_for_input_or_bell(int fd, int bell, int64_t monotonic_ns);

/* A connected, blocking TCP socket without Nagle's delay and with keepalive, or a negated errno. */
int kerb_tcp_connect(const char *host, const char *port, int64_t timeout_ns);

/* Processes. */
/* Claims a name for as long as this process lives (an abstract socket): a descriptor, or EADDRINUSE if it is taken. */
int kerb_name_claim(const char *name);
int kerb_peer_credentials(int fd, uint32_t *pid, uint32_t *uid, uint32_t *gid);
/* Kills this process when its parent dies. */
void kerb_die_with_parent(int signal_number);
