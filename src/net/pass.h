/*
 * net/pass.h - messages with descriptors, between processes of one machine.
 */
#ifndef NET_PASS_H
#define NET_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PASS_FDS = 64 }; /* at most, of one message; the kernel's own limit is 253 */

/* A SOCK_SEQPACKET pair, both ends non-blocking and close-on-exec. 0 or a negative error. */
int pass_pair(int fds[2]);

/* Sends n bytes, and fd unless it is -1. 0 or a negative error: -EAGAIN and -ETOOMANYREFS mean
   that the receiver must catch up first; nothing was sent. */
int pass_send(int sock, const void *bytes, size_t n, int fd);
int pass_send_fds(int sock, const void *bytes, size_t n, const int *fds, unsigned nfds);

/*
 * Receives one message: its length, 0 when the peer is gone, or a negative error (-EAGAIN: none
 * there). *fd is the descriptor that came with it, close-on-exec, or -1. A descriptor that the
 * kernel dropped because none was left is -EMFILE: the message is read, its socket is not here.
 */
ssize_t pass_recv(int sock, void *bytes, size_t n, int *fd);
/* Of what pass_recv() returned: the kernel had no memory. The message is there still, and the peer. */
bool pass_recv_again(ssize_t n);
/* The same for a message that may have several: -EMFILE unless all came, and then none is left. */
ssize_t pass_recv_fds(int sock, void *bytes, size_t n, int fds[PASS_FDS], unsigned *nfds);

#endif
