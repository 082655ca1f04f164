#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void kerb_malloc_settle(size_t block_bytes) {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 2);
  /* Set at all, it no longer grows with what was freed: else a megabyte that was needed once is kept for ever. */
  mallopt(M_MMAP_THRESHOLD, (int)block_bytes);
  mallopt(M_TRIM_THRESHOLD, (int)block_bytes);
#else
  (void)block_bytes;
#endif
}

int64_t kerb_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t kerb_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

int64_t kerb_http_date(const char *text) {
  struct tm parts = {0};
  const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return end && *end == 0 ? (int64_t)timegm(&parts) : -1;
}

int kerb_clock_synchronised(void) {
  struct timex state;
  memset(&state, 0, sizeof state);
  if (adjtimex(&state) < 0) return 0;
  return (state.status & STA_UNSYNC) == 0;
}

struct kerb_gate {
  pthread_mutex_t mutex;
  pthread_cond_t condition;
};

kerb_gate *kerb_gate_new(void) {
  kerb_gate *gate = calloc(1, sizeof *gate);
  if (!gate) return NULL;
  pthread_condattr_t attributes;
  pthread_mutex_init(&gate->mutex, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&gate->condition, &attributes);
  pthread_condattr_destroy(&attributes);
  return gate;
}

void kerb_gate_free(kerb_gate *gate) {
  pthread_cond_destroy(&gate->condition);
  pthread_mutex_destroy(&gate->mutex);
  free(gate);
}

void kerb_gate_lock(kerb_gate *gate) { pthread_mutex_lock(&gate->mutex); }
void kerb_gate_unlock(kerb_gate *gate) { pthread_mutex_unlock(&gate->mutex); }
void kerb_gate_signal(kerb_gate *gate) { pthread_cond_broadcast(&gate->condition); }

int kerb_gate_wait_until(kerb_gate *gate, int64_t monotonic_ns) {
  if (monotonic_ns == INT64_MAX) {
    pthread_cond_wait(&gate->condition, &gate->mutex);
    return 1;
  }
  struct timespec deadline = {monotonic_ns / 1000000000, monotonic_ns % 1000000000};
  return pthread_cond_timedwait(&gate->condition, &gate->mutex, &deadline) == ETIMEDOUT ? 0 : 1;
}

__attribute__((noinline)) void kerb_wipe_stack(void) {
  volatile unsigned char room[4096];
  for (size_t index = 0; index < sizeof room; index++) room[index] = 0;
}

void kerb_thread_name(const char *name) {
  char bounded[16]; /* the kernel's limit, with its end */
  strncpy(bounded, name, sizeof bounded - 1);
  bounded[sizeof bounded - 1] = 0;
  pthread_setname_np(pthread_self(), bounded);
}

void kerb_thread_timer_slack(int64_t ns) { prctl(PR_SET_TIMERSLACK, (unsigned long)ns); }

void kerb_block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  sigdelset(&all, SIGILL);
  sigdelset(&all, SIGTRAP);
  sigdelset(&all, SIGABRT);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
}

int kerb_wait_signal(int timeout_ms) {
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGINT);
  sigaddset(&awaited, SIGHUP);
  sigaddset(&awaited, SIGUSR1);
  sigaddset(&awaited, SIGCHLD);
  struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
  int number = sigtimedwait(&awaited, NULL, &timeout);
  return number < 0 ? 0 : number;
}

int kerb_tty_share(int fd) { return ioctl(fd, TIOCNXCL) < 0 ? -errno : 0; }
int kerb_tty_exclusive(int fd) { return ioctl(fd, TIOCEXCL) < 0 ? -errno : 0; }

static speed_t speed_of(int baud) {
  switch (baud) {
  case 1200: return B1200;
  case 2400: return B2400;
  case 4800: return B4800;
  case 9600: return B9600;
  case 19200: return B19200;
  case 38400: return B38400;
  case 57600: return B57600;
  case 115200: return B115200;
  case 230400: return B230400;
  case 460800: return B460800;
  case 921600: return B921600;
  default: return B0;
  }
}

int kerb_tty_raw(int fd, int baud, char parity, int stop_bits) {
  struct termios line;
  speed_t speed = speed_of(baud);
  if (speed == B0) return -EINVAL;
  if (tcgetattr(fd, &line) < 0) return -errno;
  cfmakeraw(&line);
  cfsetispeed(&line, speed);
  cfsetospeed(&line, speed);
  line.c_cflag |= CLOCAL | CREAD;
  line.c_cflag &= ~(CSTOPB | PARENB | PARODD);
  if (stop_bits == 2) line.c_cflag |= CSTOPB;
  if (parity == 'E') line.c_cflag |= PARENB;
  if (parity == 'O') line.c_cflag |= PARENB | PARODD;
  /* A byte with wrong parity is read as 0, so that a frame keeps its length and fails its checksum. */
  line.c_iflag &= ~(INPCK | IGNPAR);
  if (parity == 'E' || parity == 'O') line.c_iflag |= INPCK;
  line.c_cc[VMIN] = 0;
  line.c_cc[VTIME] = 0;
  if (tcsetattr(fd, TCSANOW, &line) == 0) return 0;
  int code = errno;
  /* A pty has no parity, and glibc calls that an error once nothing else was to be changed: all the rest is set. */
  struct stat facts;
  if (code == EINVAL && fstat(fd, &facts) == 0 && major(facts.st_rdev) >= 136 && major(facts.st_rdev) <= 143) return 0;
  return -code;
}

int kerb_tty_baud(int fd) {
  static const int bauds[] = {1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600};
  struct termios line;
  if (tcgetattr(fd, &line) < 0) return -errno;
  for (size_t index = 0; index < sizeof bauds / sizeof bauds[0]; index++)
    if (speed_of(bauds[index]) == cfgetospeed(&line)) return bauds[index];
  return 0;
}

int kerb_terminal_size(int fd, int *columns, int *rows) {
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) < 0) return -errno;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return 0;
}

int kerb_tty_rs485(int fd, int inverted) {
  struct serial_rs485 line;
  memset(&line, 0, sizeof line);
  line.flags = SER_RS485_ENABLED | (inverted ? SER_RS485_RTS_AFTER_SEND : SER_RS485_RTS_ON_SEND);
  return ioctl(fd, TIOCSRS485, &line) < 0 ? -errno : 0;
}

int kerb_tty_has_rs485(int fd) {
  struct serial_rs485 line;
  return ioctl(fd, TIOCGRS485, &line) < 0 ? -errno : 0;
}

int kerb_tty_low_latency(int fd) {
  int took = -ENOTTY;
  struct serial_struct settings;
  memset(&settings, 0, sizeof settings);
  if (ioctl(fd, TIOCGSERIAL, &settings) == 0) {
    settings.flags |= ASYNC_LOW_LATENCY;
    if (ioctl(fd, TIOCSSERIAL, &settings) == 0) took = 0;
  }
  char link[64], device[256], timer[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, device, sizeof device - 1);
  if (length <= 0) return took;
  device[length] = 0;
  const char *name = strrchr(device, '/');
  if (!name || strncmp(device, "/dev/tty", 8) != 0) return took;
  snprintf(timer, sizeof timer, "/sys/class/tty%s/device/latency_timer", name);
  int file = open(timer, O_WRONLY | O_CLOEXEC);
  if (file < 0) return took;
  if (write(file, "1", 1) == 1) took = 0;
  close(file);
  return took;
}

int kerb_fd_flock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0; }

int kerb_fd_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int kerb_pty_open(int *master, char *slave_path, size_t slave_path_size) {
  int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, slave_path, slave_path_size) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  *master = fd;
  return 0;
}

int kerb_fd_readable(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) < 0 ? -errno : count;
}

int kerb_fd_wait_readable(int fd, int64_t timeout_ns) {
  struct pollfd waited = {fd, POLLIN, 0};
  if (timeout_ns < 0) timeout_ns = 0;
  struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  int ready = ppoll(&waited, 1, &timeout, NULL);
  if (ready < 0) return -errno;
  if (ready == 0) return 0;
  if (waited.revents & POLLIN) return 1;
  return -EPIPE;
}

int kerb_poll_until(struct pollfd *polled, size_t count, int64_t monotonic_ns) {
  struct timespec timeout = {0, 0};
  if (monotonic_ns != INT64_MAX) {
    int64_t rest = monotonic_ns - kerb_monotonic_ns();
    if (rest > 0) timeout = (struct timespec){rest / 1000000000, rest % 1000000000};
  }
  int ready = ppoll(polled, count, monotonic_ns == INT64_MAX ? NULL : &timeout, NULL);
  return ready < 0 ? -errno : ready;
}

int kerb_bell_new(void) {
  int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return bell < 0 ? -errno : bell;
}

void kerb_bell_ring(int bell) {
  uint64_t one = 1;
  /* It fails only where 2^64 rings wait: then the bell is heard anyway. */
  if (write(bell, &one, sizeof one) < 0) return;
}

int kerb_wait_for_input_or_bell(int fd, int bell, int64_t monotonic_ns) {
  struct pollfd polled[2] = {{fd, POLLIN, 0}, {bell, POLLIN, 0}};
  int ready = kerb_poll_until(polled, 2, monotonic_ns);
  uint64_t rings;
  if (ready > 0 && polled[1].revents & POLLIN && read(bell, &rings, sizeof rings) < 0) return -errno;
  return ready;
}

int kerb_peer_credentials(int fd, uint32_t *pid, uint32_t *uid, uint32_t *gid) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
  *pid = (uint32_t)peer.pid;
  *uid = peer.uid;
  *gid = peer.gid;
  return 0;
}

void kerb_die_with_parent(int signal_number) { prctl(PR_SET_PDEATHSIG, signal_number); }

int kerb_name_claim(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(name);
  if (length > sizeof address.sun_path - 1) { /* the end of a long path is what tells it from others */
    name += length - (sizeof address.sun_path - 1);
    length = sizeof address.sun_path - 1;
  }
  memcpy(address.sun_path + 1, name, length);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}
