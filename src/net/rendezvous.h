/*
 * net/rendezvous.h - where a new master finds a worker that has lost its own: a listening socket at
 * RUN_DIR/worker-N. The master makes it, the worker inherits it and answers only when it is alone.
 */
#ifndef NET_RENDEZVOUS_H
#define NET_RENDEZVOUS_H

#include <sys/types.h>

enum { RENDEZVOUS_DIR_MAX = 96 }; /* bytes of the directory's path, for sun_path is short */

/* The master's: a listening SOCK_SEQPACKET socket, non-blocking and close-on-exec, in place of
   whatever socket the path named before. Returns it, or a negative error. */
int rendezvous_open(const char *dir, unsigned worker);

/* A new master's: a connection to the worker that has the socket, or -ENOENT, -ECONNREFUSED (nobody
   has it any more), -EAGAIN (somebody has it and does not answer). */
int rendezvous_call(const char *dir, unsigned worker);

/* The worker's, as it begins: from now on callers are told that it is this process. */
void rendezvous_attend(int listener);

/* A new master's: the process that attends, by the kernel's word; 0 when it cannot be told. Of one that
   has not begun it is the process before it. */
pid_t rendezvous_attendant(int call);

/* The worker's: the caller's connection; -EPERM and closed unless the caller runs as root or as we
   do; -EAGAIN when there is nobody. */
int rendezvous_answer(int listener);

#endif
