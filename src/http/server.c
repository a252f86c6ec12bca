/*
 * http/server.c - see server.h. Runs in the HTTP worker.
 */
#include "http/server.h"

#include "base/log.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"
#include "http/memory.h"
#include "http/secure.h"
#include "serving/certificate.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 16384 };

/* What libevent could not do and will not try again: to watch a descriptor, to have memory. */
static bool unwatched;
static unsigned long mended; /* memory_missed() then */

/* What libevent has to say. */
static void say(int severity, const char *text)
{
    if (severity == EVENT_LOG_ERR)
        log_error("libevent", log_str("text", text));
    else if (severity == EVENT_LOG_WARN)
        log_warn("libevent", log_str("text", text));
    else
        log_debug("libevent", log_str("text", text));
    unwatched |= severity == EVENT_LOG_WARN && strncmp(text, "Epoll ", 6) == 0;
}

/* A connection has come. NULL: libevent makes a plain one, whose first request closes it: no link. */
static struct bufferevent *make_buffers(struct event_base *base, void *arg)
{
    struct http *h = arg;
    struct bufferevent *b = h->tls ? secure_new(base, h->tls)
                                   : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

    if (b && link_expect(h, b, h->tls != NULL))
        return b;
    log_error("no memory for a connection");
    if (b)
        bufferevent_free(b);
    return NULL;
}

/* Out of descriptors: a listener whose backlog is not empty stays readable, so it rests until the next
   tick. libevent tells only which one it is. */
static void cannot_accept(struct evconnlistener *listener, void *evhttp)
{
    (void)evhttp;
    log_error("cannot accept HTTP connections, will try again", log_err("error", -errno));
    evconnlistener_disable(listener);
}

static void enable(struct evhttp_bound_socket *bound, void *arg)
{
    (void)arg;
    evconnlistener_enable(evhttp_bound_socket_get_listener(bound));
}

void server_tick(struct http *h)
{
    evhttp_foreach_bound_socket(h->server, enable, NULL);
}

void server_mend(struct http *h)
{
    unsigned long missed = memory_missed();

    if (missed != mended) {
        log_warn("there was no memory", log_uint("times", missed - mended));
        links_read_again(h);
    }
    mended = missed;
    if (!unwatched)
        return;
    unwatched = false;
    log_warn("a descriptor was not watched, all are watched anew");
    if (event_reinit(h->base) == 0)
        return;
    log_error("descriptors cannot be watched, this worker will be replaced");
    h->leaves = true;
}

void server_prepare(void)
{
    memory_prepare();
    event_set_log_callback(say);
}

int server_start(struct http *h)
{
    h->server = evhttp_new(h->base);
    if (!h->server)
        return -ENOMEM;
    evhttp_set_gencb(h->server, call_come, h);
    evhttp_set_bevcb(h->server, make_buffers, h);
    evhttp_set_max_headers_size(h->server, HEAD_MAX);
    evhttp_set_max_body_size(h->server, BODY_MAX);
    evhttp_set_allowed_methods(h->server, 0xffff);
    for (unsigned i = 0; i < h->heritage->nlisteners; i++) {
        struct evhttp_bound_socket *bound =
            evhttp_accept_socket_with_handle(h->server, h->heritage->listener[i]);

        if (!bound)
            return -ENOMEM;
        evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), cannot_accept);
    }
    return 0;
}

int server_use_tls(struct http *h, const struct tls_files *files)
{
    return certificate_use(&h->tls, h->r, files);
}
