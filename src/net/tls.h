/*
 * net/tls.h - TLS for streams: OpenSSL's one owner. In a build without TLS (tls_none.c) the same
 * functions say that there is none.
 *
 * Runs in workers, and in the child that checks the files; never in the master.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "net/stream.h"
#include "net/tickets.h"

#include <stddef.h>

enum tls_part { TLS_CERT, TLS_KEY, TLS_CLIENT_CA, TLS_PARTS };

/* What the files hold, by part; n = 0: there is no such file. */
struct tls_pem {
    const char *text;
    size_t n;
};

/* What is wrong with a part, and what to do about it; `fatal`, or only worth a warning. */
typedef void tls_say(void *arg, enum tls_part part, bool fatal, const char *text);

struct ssl_ctx_st;

/*
 * What handshakes need, made from the files. NULL when something fatal was said, or (without a word)
 * when there is no memory. Tickets may be NULL: no session is resumed. A stream keeps what it was
 * opened with, so the caller may free it at any time.
 */
struct ssl_ctx_st *tls_context(const struct tls_pem pem[TLS_PARTS], const struct tickets *tickets,
                               tls_say *say, void *arg);
void tls_context_free(struct ssl_ctx_st *context); /* NULL is fine */

/*
 * The server's side of a connection. The handshake is part of the first recv. Of the peer's end, both
 * its close_notify and a FIN without one are STREAM_END: requests have ends of their own, so nothing
 * is gained by cutting the stream. 0 or a negative error.
 */
int tls_open(struct stream *s, int fd, struct ssl_ctx_st *context);

/*
 * The server's side of a connection whose bytes another library moves, which frees it; nothing is read
 * ahead of what is asked for. NULL: there is no memory.
 */
struct ssl_st *tls_server(struct ssl_ctx_st *context);

/* How far its handshake has come. */
enum tls_handshake { TLS_NOT_BEGUN, TLS_BEGUN, TLS_DONE };
enum tls_handshake tls_handshake(const struct ssl_st *ssl);

/* Before that library closes it: a close_notify, if the peer can hear it. */
void tls_goodbye(struct ssl_st *ssl);

#endif
