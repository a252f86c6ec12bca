/*
 * tests/bench/echotls.c - the limit over TLS: the echo server with nothing but OpenSSL between it
 * and its sockets.
 *
 *   echotls WORKERS CERTIFICATE KEY     prints its port, serves until killed
 *
 * Level-triggered, unlike echo.c: to see that a socket is empty OpenSSL would need one more recv().
 */
#include "echo.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 256 };

static struct {
    struct echo_request request;
    SSL *ssl;
} conns[ECHO_CONNS];
static SSL_CTX *context;

static void end(int fd)
{
    ERR_clear_error();
    SSL_shutdown(conns[fd].ssl);
    SSL_free(conns[fd].ssl);
    close(fd);
}

/* The first call does the handshake. */
static void serve(int fd)
{
    static char in[ECHO_IN], out[ECHO_OUT];
    SSL *ssl = conns[fd].ssl;
    int n;

    do {
        size_t len;

        ERR_clear_error();
        n = SSL_read(ssl, in, sizeof(in));
        if (n <= 0) {
            n = SSL_get_error(ssl, n);
            if (n != SSL_ERROR_WANT_READ && n != SSL_ERROR_WANT_WRITE)
                end(fd);
            return;
        }
        len = echo_answers(&conns[fd].request, in, (size_t)n, out);
        if (len > 0 && SSL_write(ssl, out, (int)len) != (int)len) {
            end(fd);
            return;
        }
    } while (SSL_has_pending(ssl));
}

static void take(int epfd, int listener)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int fd = echo_accept(listener, -1);

    if (fd < 0)
        return;
    conns[fd].ssl = SSL_new(context);
    if (!conns[fd].ssl || SSL_set_fd(conns[fd].ssl, fd) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_set_accept_state(conns[fd].ssl);
    memset(&conns[fd].request, 0, sizeof(conns[fd].request));
    ev.data.fd = fd;
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void work(int tcp, int local)
{
    int epfd = epoll_create1(0);
    struct epoll_event got[EVENTS], ev = {.events = EPOLLIN, .data.fd = tcp};

    (void)local;
    epoll_ctl(epfd, EPOLL_CTL_ADD, tcp, &ev);
    for (;;) {
        int n = epoll_wait(epfd, got, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (got[i].data.fd == tcp)
                take(epfd, tcp);
            else
                serve(got[i].data.fd);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: echotls WORKERS CERTIFICATE KEY\n", stderr);
        return 2;
    }
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_read_ahead(context, 1); /* head and body of a record with one recv() */
    return echo_serve((unsigned)atoi(argv[1]), NULL, work);
}
