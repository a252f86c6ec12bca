/*
 * tests/bench/loadlink.c - the load client's sockets.
 */
#include "load.h"

#include "loadtls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool bind_source(int fd, unsigned index)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl((127u << 24 | 1u << 16) + 1 + index)};
    int one = 1;

    return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) == 0 &&
           bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0;
}

static bool is_loopback(const struct sockaddr_storage *to)
{
    return to->ss_family == AF_INET &&
           ntohl(((const struct sockaddr_in *)to)->sin_addr.s_addr) >> 24 == 127;
}

/* Who connects and waits sends many requests, several at a time perhaps. */
static bool settle(int fd, const struct plan *plan)
{
    int one = 1;

    if (plan->to.ss_family != AF_UNIX &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        return false;
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

/* A request and the reply to it, without its LF, while the socket blocks still. 0: the connection has
   ended. */
static size_t ask(struct conn *c, const char *request, size_t n, char reply[LOAD_REPLY_MAX])
{
    size_t got = 0;
    ssize_t more = 1;

    if (link_send(c, request, n) != (ssize_t)n)
        return 0;
    while (more > 0 && got < LOAD_REPLY_MAX && (got == 0 || reply[got - 1] != '\n')) {
        more = link_recv(c, reply + got, LOAD_REPLY_MAX - got);
        got += more > 0 ? (size_t)more : 0;
    }
    return more > 0 && reply[got - 1] == '\n' ? got - 1 : 0;
}

/* The secret, if there is one; and who renews has its locks from the begin. */
static bool introduce(struct conn *c, const struct plan *plan)
{
    char text[256], reply[LOAD_REPLY_MAX];
    bool welcome = true;

    if (plan->secret) {
        int n = snprintf(text, sizeof(text), "auth\n\n%s\n", plan->secret);

        welcome = n < (int)sizeof(text) && ask(c, text, (size_t)n, reply) == 2 &&
                  memcmp(reply, "ok", 2) == 0;
    }
    for (unsigned i = 0; i < plan->depth && welcome && plan->work->renews; i++) {
        struct slot *s = &c->slot[i];
        size_t n = ask(c, s->lock, s->lock_n, reply);

        welcome = s->held = plan->wire->granted(reply, n, s->unlock + s->token_at);
    }
    if (!welcome)
        errno = EACCES;
    return welcome;
}

bool link_open(struct conn *c, const struct plan *plan, bool wait)
{
    int fd = socket(plan->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
    int error;

    c->fd = fd;
    c->ssl = NULL;
    if (fd < 0)
        return false;
    if (is_loopback(&plan->to) && !bind_source(fd, c->index))
        goto fail;
    if (connect(fd, (const struct sockaddr *)&plan->to, plan->to_len) < 0 && errno != EINPROGRESS)
        goto fail;
    if (plan->tls && !tls_begin(c, plan->tls, wait))
        goto fail;
    if (wait && !introduce(c, plan))
        goto fail;
    if (!wait || settle(fd, plan))
        return true;
fail:
    error = errno;
    link_close(c);
    errno = error;
    return false;
}

void link_close(struct conn *c)
{
    if (c->ssl)
        tls_end(c);
    close(c->fd);
    c->fd = -1;
}

static ssize_t outcome(ssize_t n)
{
    if (n > 0)
        return n;
    /* ENOTCONN: still connecting. */
    return n < 0 && (errno == EAGAIN || errno == ENOTCONN) ? 0 : -1;
}

ssize_t link_send(struct conn *c, const char *bytes, size_t n)
{
    return c->ssl ? tls_send(c, bytes, n) : outcome(send(c->fd, bytes, n, MSG_NOSIGNAL));
}

ssize_t link_recv(struct conn *c, char *bytes, size_t n)
{
    return c->ssl ? tls_recv(c, bytes, n) : outcome(recv(c->fd, bytes, n, 0));
}

bool link_more(const struct conn *c)
{
    return c->ssl && tls_more(c);
}

bool link_full(const struct conn *c)
{
    return !c->ssl || tls_full(c);
}
