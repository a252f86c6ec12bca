/*
 * net/stream.h - a connection's byte stream, plain or TLS, behind one table of operations.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* > 0 bytes moved; STREAM_AGAIN: not now; STREAM_END: the peer has sent all it will;
   STREAM_RESET: the connection is dead. */
enum { STREAM_AGAIN = -1, STREAM_END = 0, STREAM_RESET = -2 };

struct ssl_st;

/* Our end of a connection. It stays where it is while it is open. */
struct stream {
    const struct stream_ops *ops;
    int fd;    /* 0 = none: 0 to 2 are never a connection's */
    bool open; /* bytes may be sent: false until a handshake is done, which recv does */
    /* After recv: there may be more although it took less than it had room for, and epoll will not
       say so. Otherwise less means that the socket is empty. */
    bool more;
    /* What the call that said STREAM_AGAIN waits for: not its own direction but the other. */
    bool recv_awaits_room, send_awaits_bytes;
    bool begun; /* of TLS: a byte has come */
    const char *fault; /* why it is dead, when that is worth a line in the log */
    /* net/tls.c alone: */
    struct ssl_st *ssl;
    unsigned budget; /* of receptions in one call */
    bool emptied;    /* this call has emptied the socket */
    bool ended;      /* the socket has been read to its end */
    bool broken;     /* nothing more can be said to the peer */
};

struct stream_ops {
    ssize_t (*recv)(struct stream *s, void *buf, size_t n);
    /* Less than n: the socket is full. */
    ssize_t (*send)(struct stream *s, const void *buf, size_t n);
    /* Nothing more will be sent. 0, or STREAM_AGAIN: to be called again. */
    int (*finish)(struct stream *s);
    void (*close)(struct stream *s);
    void (*abandon)(struct stream *s); /* gives back its memory; the socket stays as it is */
    bool end_in_band; /* the peer's end is seen only by reading up to it */
};

extern const struct stream_ops stream_plain_ops;
void stream_plain(struct stream *s, int fd);

/* No delay, keepalive (15 s idle, 5 s interval, 3 probes), urgent data in line; the kernel takes no more
   while it has 128 KiB that it has not sent. For TCP sockets; those that come from a listener that has
   the options have them, too. */
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
