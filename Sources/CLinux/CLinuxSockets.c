#define _GNU_SOURCE
#include "CLinuxSockets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int unix_address(const char *path, struct sockaddr_un *address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
  strcpy(address->sun_path, path);
  return 0;
}

/* 0 if the path is free now, else a negated errno. */
static int clear_stale(const char *path, const struct sockaddr_un *address) {
  struct stat facts;
  if (lstat(path, &facts) < 0) return errno == ENOENT ? 0 : -errno;
  if (!S_ISSOCK(facts.st_mode)) return -EEXIST;
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return -errno;
  int refused = connect(probe, (const struct sockaddr *)address, sizeof *address) < 0 ? errno : 0;
  close(probe);
  if (refused == ENOENT) return 0;
  /* Only a refusal says that nobody listens; a full backlog (EAGAIN) says that somebody does. */
  if (refused != ECONNREFUSED) return refused == EACCES || refused == EPERM ? -refused : -EADDRINUSE;
  return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int kerb_unix_listen(const char *path, mode_t mode, int backlog) {
  struct sockaddr_un address;
  int result = unix_address(path, &address);
  if (result == 0) result = clear_stale(path, &address);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    result = -errno;
  } else if (chmod(path, mode) < 0 || listen(fd, backlog) < 0) {
    result = -errno;
    unlink(path);
  }
  if (result < 0) {
    close(fd);
    return result;
  }
  return fd;
}

int kerb_unix_connect(const char *path, int64_t timeout_ns) {
  struct sockaddr_un address;
  int result = unix_address(path, &address);
  if (result < 0) return result;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  struct timeval timeout = {timeout_ns / 1000000000, (timeout_ns % 1000000000) / 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int kerb_user_in_group(uint32_t uid, uint32_t gid, const char *group) {
  struct group entry, *found_group = NULL;
  struct passwd user, *found_user = NULL;
  char group_text[4096], user_text[4096];
  if (getgrnam_r(group, &entry, group_text, sizeof group_text, &found_group) != 0 || !found_group) return 0;
  if (found_group->gr_gid == gid) return 1;
  if (getpwuid_r(uid, &user, user_text, sizeof user_text, &found_user) != 0 || !found_user) return 0;
  gid_t groups[64];
  int count = 64;
  if (getgrouplist(found_user->pw_name, found_user->pw_gid, groups, &count) < 0) count = 64;
  for (int index = 0; index < count; index++)
    if (groups[index] == found_group->gr_gid) return 1;
  return 0;
}

static int connect_within(int fd, const struct addrinfo *address, int64_t timeout_ns) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
    if (errno != EINPROGRESS) return -errno;
    struct pollfd waited = {fd, POLLOUT, 0};
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int ready = ppoll(&waited, 1, &timeout, NULL);
    if (ready < 0) return -errno;
    if (ready == 0) return -ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
    if (error) return -error;
  }
  return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int kerb_tcp_connect(const char *host, const char *port, int64_t timeout_ns) {
  struct addrinfo hints, *found = NULL;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host, port, &hints, &found) != 0) return -EHOSTUNREACH;
  int result = -EHOSTUNREACH;
  for (const struct addrinfo *address = found; address; address = address->ai_next) {
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0) {
      result = -errno;
      continue;
    }
    result = connect_within(fd, address, timeout_ns);
    if (result == 0) {
      int yes = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
      result = fd;
      break;
    }
    close(fd);
  }
  freeaddrinfo(found);
  return result;
}
