/*
 * client/tls.c - TLS over a transport: OpenSSL on a BIO of ours, which reads and writes as the plain
 * transport does, so that no write raises SIGPIPE. The only user of OpenSSL in the library.
 *
 * Ciphers, security level and a minimum above 1.2 are the system's policy (openssl.cnf).
 */
#include "client/dflock.h"
#include "client/transport.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* An SSL_CTX by another name: it counts its users itself. */
static SSL_CTX *ctx_of(struct tls_context *c)
{
    return (SSL_CTX *)c;
}

static BIO_METHOD *wire;
static pthread_once_t wire_once = PTHREAD_ONCE_INIT;

/* --- the BIO */

struct wire_state {
    struct transport *t;
    struct failure *f; /* of the call that runs */
    bool ended;
};

static int wire_read(BIO *bio, char *buf, int n)
{
    struct wire_state *s = BIO_get_data(bio);
    ssize_t got = transport_plain.read(s->t, buf, (size_t)n, s->f);

    BIO_clear_retry_flags(bio);
    if (got == TRANSPORT_AGAIN)
        BIO_set_retry_read(bio);
    s->ended = got == 0;
    return got > 0 ? (int)got : got == 0 ? 0 : -1;
}

static int wire_write(BIO *bio, const char *buf, int n)
{
    struct wire_state *s = BIO_get_data(bio);
    ssize_t sent = transport_plain.write(s->t, buf, (size_t)n, s->f);

    BIO_clear_retry_flags(bio);
    if (sent == TRANSPORT_AGAIN)
        BIO_set_retry_write(bio);
    return sent > 0 ? (int)sent : -1;
}

static long wire_ctrl(BIO *bio, int what, long number, void *pointer)
{
    const struct wire_state *s = BIO_get_data(bio);

    (void)number, (void)pointer;
    switch (what) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return s && s->ended;
    default:
        return 0;
    }
}

static int wire_destroy(BIO *bio)
{
    OPENSSL_free(BIO_get_data(bio));
    return 1;
}

static void make_wire(void)
{
    wire = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dflock");
    if (wire) {
        BIO_meth_set_read(wire, wire_read);
        BIO_meth_set_write(wire, wire_write);
        BIO_meth_set_ctrl(wire, wire_ctrl);
        BIO_meth_set_destroy(wire, wire_destroy);
    }
}

/* --- contexts */

static int refuse(struct failure *f, const char *what, const char *file)
{
    unsigned long error = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(error) ? error_errno(ERR_GET_REASON(error)) : ERR_reason_error_string(error);

    failure_set(f, DFLOCK_ERR_TLS, "%s%s%s: %s", what, file ? " " : "", file ? file : "",
                reason ? reason : "it cannot be used");
    ERR_clear_error();
    return f->code;
}

static int load_ca(SSL_CTX *ctx, const char *path, struct failure *f)
{
    if (!path) {
        if (!SSL_CTX_set_default_verify_paths(ctx))
            return refuse(f, "the system's authorities", NULL);
        return 0;
    }
    if (!SSL_CTX_load_verify_file(ctx, path))
        return refuse(f, "authorities in", path);
    return 0;
}

static int no_passphrase(char *buf, int size, int writing, void *data)
{
    (void)buf, (void)size, (void)writing, (void)data;
    return 0;
}

static int load_cert(SSL_CTX *ctx, const struct tls_files *files, struct failure *f)
{
    if (!files->cert)
        return 0;
    /* A library does not ask at the terminal. */
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (!SSL_CTX_use_certificate_chain_file(ctx, files->cert))
        return refuse(f, "the certificate", files->cert);
    if (!SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM))
        return refuse(f, "the key", files->key);
    if (!SSL_CTX_check_private_key(ctx))
        return refuse(f, "it is not the certificate's: the key", files->key);
    return 0;
}

struct tls_context *tls_context_new(const struct tls_files *files, struct failure *f)
{
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        refuse(f, "TLS", NULL);
        return NULL;
    }
    /* A higher minimum of the system's stays. */
    if (SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION)
        SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, files->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (load_ca(ctx, files->ca, f) || load_cert(ctx, files, f)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return (struct tls_context *)ctx;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    if (c)
        SSL_CTX_up_ref(ctx_of(c));
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    SSL_CTX_free(ctx_of(c));
}

/* --- operations */

static void begin(struct transport *t, struct failure *f)
{
    struct wire_state *s = BIO_get_data(SSL_get_rbio(t->ssl));

    ERR_clear_error();
    s->t = t;
    s->f = f;
}

/* What a call that did not succeed means. */
static int outcome(struct transport *t, int result, struct failure *f)
{
    const struct wire_state *s = BIO_get_data(SSL_get_rbio(t->ssl));
    int error = SSL_get_error(t->ssl, result);
    long verified = SSL_get_verify_result(t->ssl);
    const char *reason;

    switch (error) {
    case SSL_ERROR_WANT_READ:
        t->wants = POLLIN;
        return TRANSPORT_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        t->wants = POLLOUT;
        return TRANSPORT_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        break;
    }
    if (f->code)
        return f->code; /* the socket's */
    if (!SSL_is_init_finished(t->ssl) && verified != X509_V_OK &&
        SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE)
        return failure_set(f, DFLOCK_ERR_TLS, "the server's certificate: %s",
                           X509_verify_cert_error_string(verified));
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_WRONG_VERSION_NUMBER)
        reason = "what the server says is no TLS; it may want none";
    else
        reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    if (s->ended)
        return failure_set(f, SSL_is_init_finished(t->ssl) ? DFLOCK_ERR_CONNECT : DFLOCK_ERR_TLS,
                           "the server closed the connection%s",
                           SSL_is_init_finished(t->ssl) ? "" : " in the TLS handshake");
    return failure_set(f, DFLOCK_ERR_TLS, "TLS: %s", reason ? reason : "protocol error");
}

static ssize_t tls_read(struct transport *t, void *buf, size_t n, struct failure *f)
{
    size_t got;
    int result;

    begin(t, f);
    result = SSL_read_ex(t->ssl, buf, n, &got);
    return result > 0 ? (ssize_t)got : outcome(t, result, f);
}

static ssize_t tls_write(struct transport *t, const void *buf, size_t n, struct failure *f)
{
    size_t sent;
    int result, err;

    begin(t, f);
    result = SSL_write_ex(t->ssl, buf, n, &sent);
    if (result > 0)
        return (ssize_t)sent;
    err = outcome(t, result, f);
    return err ? err : failure_set(f, DFLOCK_ERR_CONNECT, "the server closed the connection");
}

static int tls_handshake(struct transport *t, struct failure *f)
{
    int result, err;

    begin(t, f);
    result = SSL_connect(t->ssl);
    if (result > 0)
        return 0;
    err = outcome(t, result, f);
    return err ? err
               : failure_set(f, DFLOCK_ERR_TLS, "the server closed the connection in the TLS handshake");
}

static bool tls_pending(const struct transport *t)
{
    return SSL_has_pending(t->ssl);
}

static void tls_close(struct transport *t)
{
    struct failure unheard = {0};

    begin(t, &unheard);
    if (SSL_is_init_finished(t->ssl))
        (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    SSL_free(t->ssl);
    t->ssl = NULL;
}

static const struct transport_ops transport_tls = {
    .read = tls_read,
    .write = tls_write,
    .handshake = tls_handshake,
    .pending = tls_pending,
    .close = tls_close,
};

/* A certificate is for a host name or for an address. */
static bool expect_name(SSL *ssl, const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int tls_start(struct transport *t, struct tls_context *c, const char *name, struct failure *f)
{
    struct wire_state *s = OPENSSL_zalloc(sizeof(*s));
    BIO *bio;

    pthread_once(&wire_once, make_wire);
    bio = wire ? BIO_new(wire) : NULL;
    t->ssl = SSL_new(ctx_of(c));
    if (!s || !bio || !t->ssl || !expect_name(t->ssl, name)) {
        OPENSSL_free(s);
        BIO_free(bio);
        SSL_free(t->ssl);
        t->ssl = NULL;
        return refuse(f, "TLS to", name);
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    t->ops = &transport_tls;
    return 0;
}
