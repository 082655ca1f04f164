#pragma once
/* Unix sockets, whose address Swift can't build without pointer games. Every function returns a descriptor (close on
   exec) or 0, or a negated errno. */
#include <stdint.h>
#include <sys/types.h>

/* Binds and listens, not blocking; nobody can connect before `mode` is set. A socket file that nobody answers on is
   replaced; one that is answered on gives EADDRINUSE, another kind of file EEXIST. */
int kerb_unix_listen(const char *path, mode_t mode, int backlog);
/* Connects; reads and writes then give EAGAIN after timeout_ns. */
int kerb_unix_connect(const char *path, int64_t timeout_ns);
/* 1: the user belongs to the group of that name, by its own group or by membership. 0: not, or no such group. */
int kerb_user_in_group(uint32_t uid, uint32_t gid, const char *group);
