/*
 * http/server.c - see server.h.
 */
#include "http/server.h"

#include "http/call.h"
#include "http/http.h"
#include <errno.h>

int server_start(struct http *h)
{
    h->server = evhttp_new(h->base);
    if (!h->server)
        return -ENOMEM;
    evhttp_set_gencb(h->server, call_come, h);
    evhttp_set_max_headers_size(h->server, 16384);
    evhttp_set_max_body_size(h->server, BODY_MAX);
    evhttp_set_allowed_methods(h->server, 0xffff);
    for (unsigned i = 0; i < h->heritage->nlisteners; i++)
        if (!evhttp_accept_socket_with_handle(h->server, h->heritage->listener[i]))
            return -ENOMEM;
    return 0;
}

int server_use_tls(struct http *h, const struct tls_files *files)
{
    (void)h, (void)files;
    return 0;
}

void server_adjust(struct http *h)
{
    (void)h;
}
