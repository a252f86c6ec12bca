/*
 * tests/net/tls_test.c - what a TLS stream says between edges: a socket that is full in the middle of
 * a handshake or of an answer, more records than one call may take. The client is OpenSSL itself.
 */
#include "net/tls.h"

#include "tests/tap.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS = 100000, RECORD = 16384 + 256 + 5 };

static struct ssl_ctx_st *context;
static SSL_CTX *client_context;
static struct stream s;
static int theirs;
static SSL *client;

/* A certificate with a long text in it, and its key. */
static void make_pair(BIO *cert, BIO *key, size_t length)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    ASN1_OCTET_STRING *text = ASN1_OCTET_STRING_new();
    unsigned char *bytes = calloc(1, length);
    ASN1_OBJECT *id = OBJ_txt2obj("1.2.3.4", 1);
    X509_EXTENSION *more;

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, pkey);
    ASN1_OCTET_STRING_set(text, bytes, (int)length);
    more = X509_EXTENSION_create_by_OBJ(NULL, id, 0, text);
    X509_add_ext(x, more, -1);
    if (!X509_sign(x, pkey, EVP_sha256()) || !PEM_write_bio_X509(cert, x) ||
        !PEM_write_bio_PrivateKey(key, pkey, NULL, NULL, 0, NULL, NULL))
        bail_out("a certificate");
    X509_EXTENSION_free(more);
    ASN1_OBJECT_free(id);
    ASN1_OCTET_STRING_free(text);
    free(bytes);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

static void complain(void *arg, enum tls_part part, bool fatal, const char *text)
{
    (void)arg;
    diag("part %d, fatal %d: %s", (int)part, (int)fatal, text);
}

static void make_contexts(size_t length)
{
    BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    struct tls_pem pem[TLS_PARTS] = {0};
    char *text;

    make_pair(cert, key, length);
    pem[TLS_CERT].n = (size_t)BIO_get_mem_data(cert, &text);
    pem[TLS_CERT].text = text;
    pem[TLS_KEY].n = (size_t)BIO_get_mem_data(key, &text);
    pem[TLS_KEY].text = text;
    context = tls_context(pem, NULL, complain, NULL);
    client_context = SSL_CTX_new(TLS_client_method());
    if (!context || !client_context)
        bail_out("a context");
    BIO_free(cert);
    BIO_free(key);
}

/* What is asked so often that it gets no line of its own. */
static void must(bool held, const char *what)
{
    if (!held)
        bail_out("%s", what);
}

static void non_blocking(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        bail_out("fcntl");
}

static void open_both(int ours)
{
    non_blocking(ours);
    non_blocking(theirs);
    client = SSL_new(client_context);
    if (tls_open(&s, ours, context) != 0 || !client || !SSL_set_fd(client, theirs))
        bail_out("open");
    SSL_set_connect_state(client);
}

static void close_both(void)
{
    SSL_free(client);
    close(theirs);
    s.ops->close(&s);
    tls_context_free(context);
    SSL_CTX_free(client_context);
}

static void open_unix(int sndbuf)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)) < 0)
        bail_out("socketpair");
    theirs = fds[1];
    open_both(fds[0]);
}

static void open_tcp(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int l = socket(AF_INET, SOCK_STREAM, 0), ours, room = 200000;

    theirs = socket(AF_INET, SOCK_STREAM, 0);
    if (setsockopt(l, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) < 0 ||
        bind(l, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l, 1) < 0 ||
        getsockname(l, (struct sockaddr *)&sa, &len) < 0 ||
        connect(theirs, (struct sockaddr *)&sa, sizeof(sa)) < 0 || (ours = accept(l, NULL, NULL)) < 0)
        bail_out("connect");
    close(l);
    open_both(ours);
}

static bool ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, 0) == 1;
}

/* Both sides in turn; ours only when what it waits for has come, as an event loop would. Returns how
   often it waited for room. */
static unsigned handshake(void)
{
    unsigned rooms = 0;
    char c;

    for (unsigned i = 0; i < TURNS && !(s.open && SSL_is_init_finished(client)); i++) {
        SSL_do_handshake(client);
        if (s.open || !ready(s.fd, s.recv_awaits_room ? POLLOUT : POLLIN))
            continue;
        must(s.ops->recv(&s, &c, 1) == STREAM_AGAIN, "nothing to read in a handshake");
        rooms += s.recv_awaits_room;
    }
    ok(s.open && SSL_is_init_finished(client), "the handshake is done");
    return rooms;
}

static void test_full_in_handshake(void)
{
    unsigned rooms;

    make_contexts(60000);
    open_unix(4608);
    ok(!s.open, "not open before its handshake");
    rooms = handshake();
    ok(rooms > 0, "it waited %u times for room, in a read", rooms);
    ok(!s.recv_awaits_room, "and does no longer");
    close_both();
}

/* An answer larger than the socket, from a buffer that moves. */
static void test_full_in_answer(void)
{
    enum { SIZE = 300000, PIECE = 50000 };
    static unsigned char bytes[SIZE], pieces[2][PIECE], got[SIZE];
    size_t sent = 0, received = 0;
    unsigned shorts = 0, agains = 0;

    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    make_contexts(10);
    open_unix(4608);
    handshake();
    for (unsigned i = 0; i < TURNS && received < SIZE; i++) {
        size_t n = SIZE - sent < PIECE ? SIZE - sent : PIECE, m;
        unsigned char *piece = pieces[i % 2]; /* the same bytes, elsewhere */

        if (n > 0 && ready(s.fd, POLLOUT)) {
            ssize_t done;

            memcpy(piece, bytes + sent, n);
            done = s.ops->send(&s, piece, n);
            memset(piece, 0xee, PIECE);
            if (done > 0) {
                sent += (size_t)done;
                shorts += (size_t)done < n;
            } else if (done == STREAM_AGAIN) {
                agains++;
            } else {
                bail_out("send");
            }
        }
        if (SSL_read_ex(client, got + received, SIZE - received, &m))
            received += m;
    }
    ok(received == SIZE && memcmp(bytes, got, SIZE) == 0,
       "%d bytes come through; %u short sends, %u times not now", SIZE, shorts, agains);
    ok(shorts + agains > 10, "the socket was full");
    close_both();
}

static int unread(void)
{
    int n = 0;

    ioctl(s.fd, FIONREAD, &n);
    return n;
}

/* What the client has sent and this side's kernel has not received. */
static int under_way(void)
{
    int n = 0;

    ioctl(theirs, SIOCOUTQ, &n);
    return n;
}

static void test_budget(void)
{
    unsigned calls = 0;
    bool all_here;
    char c = 'x';
    int before;
    size_t n;

    make_contexts(10);
    open_tcp();
    handshake();
    for (unsigned i = 0; i < 40000; i++) {
        SSL_key_update(client, SSL_KEY_UPDATE_NOT_REQUESTED);
        if (SSL_do_handshake(client) != 1)
            break; /* the socket is full */
    }
    before = unread();
    ok(before > 100000, "%d bytes of key updates wait", before);
    is_int(s.ops->recv(&s, &c, 1), STREAM_AGAIN, "they are nothing to read");
    ok(s.more, "there may be more, and no event will say so");
    ok(unread() > 0 && before - unread() <= 8 * RECORD, "one call has read %d of them",
       before - unread());
    do {
        all_here = under_way() == 0;
        do
            must(s.ops->recv(&s, &c, 1) == STREAM_AGAIN, "still nothing to read");
        while (s.more && calls++ < TURNS);
    } while (!all_here && calls++ < TURNS);
    is_int(unread(), 0, "in the end all are read");
    for (unsigned i = 0; i < TURNS && !SSL_write_ex(client, "abc", 3, &n); i++)
        s.ops->recv(&s, &c, 0);
    for (unsigned i = 0; i < TURNS && s.ops->recv(&s, &c, 1) != 1; i++)
        poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 10);
    is_int(c, 'a', "what comes behind them is read");
    ok(s.more, "and more is there");
    is_int(s.ops->recv(&s, &c, 1), 1, "the next byte");
    is_int(s.ops->recv(&s, &c, 1), 1, "the last");
    while (s.more && calls++ < TURNS)
        must(s.ops->recv(&s, &c, 1) == STREAM_AGAIN, "nothing behind it");
    ok(!s.more, "then nothing is left");
    close_both();
}

int main(void)
{
    test_full_in_handshake();
    test_full_in_answer();
    test_budget();
    return done_testing();
}
