/*
 * net/stream.h - a connection's byte stream, plain or (later) TLS, behind one table of operations.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* > 0 bytes moved; STREAM_AGAIN: not now; STREAM_END: the peer has sent all it will;
   STREAM_RESET: the connection is dead. */
enum { STREAM_AGAIN = -1, STREAM_END = 0, STREAM_RESET = -2 };

struct stream_ops {
    ssize_t (*recv)(int fd, void *buf, size_t n);
    ssize_t (*send)(int fd, const void *buf, size_t n);
};

extern const struct stream_ops stream_plain;

/* No delay, keepalive (15 s idle, 5 s interval, 3 probes), urgent data in line. For TCP sockets. */
void stream_tune(int fd);

/* Bytes written that the peer's kernel (Unix socket: the peer) has not taken yet; 0 on error. */
int stream_unacked(int fd);

/*
 * How far the stream really got, by the kernel's own count: bytes the application has read, and
 * bytes it has written, since the connection began. TCP only. 0 or a negative error.
 */
int stream_position(int fd, uint64_t *read, uint64_t *written);

/*
 * How long ago the peer's last packet came, ns, by the kernel's clock (some ms of grain): of a stream
 * that has ended and was sent nothing since, the age of its FIN. TCP only. 0 or a negative error.
 */
int stream_last_heard(int fd, uint64_t *ago);

#endif
