/*
 * net/tls.c - see tls.h.
 *
 * Policy is the system's: ciphers, security level and a minimum version above 1.2 come from its
 * openssl.cnf. OpenSSL gets its bytes through a BIO of ours, and that from the plain stream: so every
 * system call is one of net/stream.c, and it is known when the socket is empty.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

/* Receptions in one call, of at most a record each: records without data must not keep a worker. */
enum { RECEPTIONS = 8 };

static BIO_METHOD *wire; /* made with the first context */

/* --- the BIO */

static int wire_read(BIO *bio, char *buf, int n)
{
    struct stream *s = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    if (s->budget == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    s->budget--;
    got = stream_plain_ops.recv(s, buf, (size_t)n);
    s->emptied = got < n;
    s->ended = got == STREAM_END;
    if (got == STREAM_AGAIN)
        BIO_set_retry_read(bio);
    /* TLS begins with 0x16, what people type with less than 0x80. OpenSSL would wait for more. */
    if (got > 0 && !s->begun && (unsigned char)buf[0] != SSL3_RT_HANDSHAKE &&
        (unsigned char)buf[0] < 0x80) {
        s->fault = "plain text on a TLS address";
        return -1;
    }
    s->begun |= got > 0;
    return got >= 0 ? (int)got : -1;
}

static int wire_write(BIO *bio, const char *buf, int n)
{
    ssize_t sent = stream_plain_ops.send(BIO_get_data(bio), buf, (size_t)n);

    BIO_clear_retry_flags(bio);
    if (sent == STREAM_AGAIN)
        BIO_set_retry_write(bio);
    return sent > 0 ? (int)sent : -1;
}

static long wire_ctrl(BIO *bio, int what, long number, void *pointer)
{
    const struct stream *s = BIO_get_data(bio);

    (void)number, (void)pointer;
    switch (what) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return s->ended;
    default:
        return 0;
    }
}

static bool make_wire(void)
{
    if (wire)
        return true;
    wire = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    return wire && BIO_meth_set_read(wire, wire_read) && BIO_meth_set_write(wire, wire_write) &&
           BIO_meth_set_ctrl(wire, wire_ctrl);
}

/* --- operations */

static void begin(struct stream *s)
{
    ERR_clear_error(); /* or an old error would be taken for this call's */
    s->recv_awaits_room = s->send_awaits_bytes = s->more = s->emptied = false;
    s->budget = RECEPTIONS;
}

/* What a call that did not succeed means. */
static ssize_t outcome(struct stream *s, int result)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int error = SSL_get_error(s->ssl, result);

    switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        if (s->open)
            return STREAM_END;
        break; /* gone before it had said anything: who looks whether the port is open */
    default:
        if (!s->fault && !s->ended && error == SSL_ERROR_SSL)
            s->fault = reason ? reason : "protocol error";
    }
    s->broken = true;
    return STREAM_RESET;
}

static ssize_t tls_recv(struct stream *s, void *buf, size_t n)
{
    size_t got;
    int result;

    begin(s);
    result = SSL_read_ex(s->ssl, buf, n, &got);
    s->open = s->open || SSL_is_init_finished(s->ssl);
    if (result > 0) {
        s->more = !s->emptied || SSL_has_pending(s->ssl);
        return (ssize_t)got;
    }
    s->recv_awaits_room = SSL_want_write(s->ssl);
    s->more = !s->emptied && s->budget == 0;
    return outcome(s, result);
}

/* A record at a time, until the socket is full. Called again it begins with the same bytes: they
   lie in the connection's ring or document until they are sent. */
static ssize_t tls_send(struct stream *s, const void *buf, size_t n)
{
    size_t done = 0, sent;
    int result = 1;
    ssize_t what;

    begin(s);
    while (done < n && (result = SSL_write_ex(s->ssl, (const char *)buf + done, n - done, &sent)) > 0)
        done += sent;
    if (done == n)
        return (ssize_t)done;
    s->send_awaits_bytes = SSL_want_read(s->ssl);
    what = outcome(s, result);
    return done > 0 ? (ssize_t)done : what;
}

static int tls_finish(struct stream *s)
{
    int result;

    begin(s);
    result = SSL_shutdown(s->ssl);
    if (result < 0 && SSL_get_error(s->ssl, result) == SSL_ERROR_WANT_WRITE)
        return STREAM_AGAIN;
    return stream_plain_ops.finish(s);
}

static void tls_abandon(struct stream *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
}

static void tls_close(struct stream *s)
{
    begin(s);
    if (s->open && !s->broken)
        SSL_shutdown(s->ssl); /* once; a peer that does not read does not hear it */
    tls_abandon(s);
    stream_plain_ops.close(s);
}

static const struct stream_ops tls_ops = {.recv = tls_recv,
                                          .send = tls_send,
                                          .finish = tls_finish,
                                          .close = tls_close,
                                          .abandon = tls_abandon,
                                          .end_in_band = true};

int tls_open(struct stream *s, int fd, struct ssl_ctx_st *context)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl ? BIO_new(wire) : NULL;

    if (!bio) {
        SSL_free(ssl);
        return -ENOMEM;
    }
    *s = (struct stream){.ops = &tls_ops, .fd = fd, .ssl = ssl};
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return 0;
}

struct ssl_st *tls_server(struct ssl_ctx_st *context)
{
    SSL *ssl = SSL_new(context);

    if (!ssl)
        return NULL;
    SSL_set_read_ahead(ssl, 0); /* epoll would not tell of bytes that OpenSSL has already */
    SSL_set_accept_state(ssl);
    return ssl;
}

enum tls_handshake tls_handshake(const struct ssl_st *ssl)
{
    if (SSL_is_init_finished(ssl))
        return TLS_DONE;
    return BIO_number_read(SSL_get_rbio(ssl)) > 0 ? TLS_BEGUN : TLS_NOT_BEGUN;
}

void tls_goodbye(struct ssl_st *ssl)
{
    ERR_clear_error();
    if (SSL_is_init_finished(ssl))
        SSL_shutdown(ssl); /* fails after a fatal error, and where nobody reads */
    ERR_clear_error();
}

/* --- tickets */

static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt)
{
    const struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct ticket_key *k = encrypt ? tickets_newest(t) : tickets_find(t, name);
    char digest[] = "SHA256";
    OSSL_PARAM params[3];

    if (!k)
        return 0; /* a full handshake */
    if (encrypt) {
        memcpy(name, k->name, TICKET_NAME);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
    }
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac,
                                                  sizeof(k->mac));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (!EVP_MAC_CTX_set_params(mac, params) ||
        !EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, encrypt))
        return -1;
    return encrypt || k == tickets_newest(t) ? 1 : 2; /* 2: and gets a new ticket */
}

/* --- contexts */

struct making {
    SSL_CTX *ctx;
    tls_say *say;
    void *arg;
    bool failed;
};

static void complain(struct making *m, enum tls_part part, bool fatal, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void complain(struct making *m, enum tls_part part, bool fatal, const char *fmt, ...)
{
    char text[384];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    m->failed |= fatal;
    m->say(m->arg, part, fatal, text);
    ERR_clear_error();
}

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text ? text : "unknown error";
}

/* A passphrase would be asked for on a terminal that nobody looks at. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static BIO *reader(const struct tls_pem *pem)
{
    ERR_clear_error();
    return BIO_new_mem_buf(pem->text, (int)pem->n);
}

/* The next certificate, or NULL: none is left, or (`*bad`) it cannot be read. */
static X509 *next_certificate(BIO *from, bool *bad)
{
    X509 *x = PEM_read_bio_X509(from, NULL, NULL, NULL);

    *bad = !x && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
    return x;
}

static void date_text(const ASN1_TIME *t, char *text, size_t n)
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(t, &tm) || strftime(text, n, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        snprintf(text, n, "?");
}

static void check_dates(struct making *m, const X509 *x)
{
    const ASN1_TIME *from = X509_get0_notBefore(x), *until = X509_get0_notAfter(x);
    char date[64];

    if (X509_cmp_current_time(from) > 0) {
        date_text(from, date, sizeof(date));
        complain(m, TLS_CERT, false,
                 "is not valid before %s, clients will refuse it: is this machine's clock right?",
                 date);
    }
    if (X509_cmp_current_time(until) < 0) {
        date_text(until, date, sizeof(date));
        complain(m, TLS_CERT, false, "has expired on %s, clients will refuse it: renew it", date);
    }
}

/* The server's own certificate, then those that lead to its authority. */
static void use_chain(struct making *m, const struct tls_pem *pem)
{
    BIO *from = reader(pem);
    X509 *x;
    unsigned n = 0;
    bool bad;

    while (from && !m->failed && (x = next_certificate(from, &bad)) != NULL) {
        if (n++ == 0) {
            check_dates(m, x);
            if (SSL_CTX_use_certificate(m->ctx, x) != 1)
                complain(m, TLS_CERT, true, "is refused by OpenSSL: %s", reason());
        } else if (SSL_CTX_add1_chain_cert(m->ctx, x) != 1) {
            complain(m, TLS_CERT, true, "certificate %u is refused by OpenSSL: %s", n, reason());
        }
        X509_free(x);
    }
    if (!from || m->failed)
        m->failed = true;
    else if (bad)
        complain(m, TLS_CERT, true, "certificate %u cannot be read: %s", n + 1, reason());
    else if (n == 0)
        complain(m, TLS_CERT, true,
                 "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    BIO_free(from);
}

/* Why a key that can be read is not this certificate's. */
static void complain_of_pair(struct making *m, EVP_PKEY *key, const struct tls_pem *cert)
{
    BIO *from = reader(cert);
    X509 *x;
    unsigned n = 0, match = 0;
    bool bad;

    while (from && (x = next_certificate(from, &bad)) != NULL) {
        n++;
        if (X509_check_private_key(x, key) == 1)
            match = n;
        X509_free(x);
    }
    BIO_free(from);
    if (match > 1)
        complain(m, TLS_KEY, true,
                 "belongs to certificate %u of the chain: the server's own must be its first", match);
    else
        complain(m, TLS_KEY, true, "does not belong to the certificate: the two must be a pair");
}

static void use_key(struct making *m, const struct tls_pem *pem, const struct tls_pem *cert)
{
    BIO *from = reader(pem);
    bool asked = false;
    EVP_PKEY *key = from ? PEM_read_bio_PrivateKey(from, NULL, no_passphrase, &asked) : NULL;

    BIO_free(from);
    if (!from)
        m->failed = true;
    else if (asked)
        complain(m, TLS_KEY, true,
                 "is encrypted, and nobody is there to type the passphrase: store it without one "
                 "(openssl pkey -in FILE -out NEW)");
    else if (!key && !memmem(pem->text, pem->n, "PRIVATE KEY-----", 16)) /* OpenSSL says "unsupported" */
        complain(m, TLS_KEY, true, "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
    else if (!key)
        complain(m, TLS_KEY, true, "the private key cannot be read: %s", reason());
    else if (X509_check_private_key(SSL_CTX_get0_certificate(m->ctx), key) != 1)
        complain_of_pair(m, key, cert);
    else if (SSL_CTX_use_PrivateKey(m->ctx, key) != 1)
        complain(m, TLS_KEY, true, "is refused by OpenSSL: %s", reason());
    EVP_PKEY_free(key);
}

/* Whoever has a certificate of one of these is let in, and nobody else. */
static void use_authorities(struct making *m, const struct tls_pem *pem)
{
    X509_STORE *store = SSL_CTX_get_cert_store(m->ctx);
    BIO *from = reader(pem);
    unsigned n = 0, expired = 0;
    bool bad = false;
    X509 *x;

    while (from && !m->failed && (x = next_certificate(from, &bad)) != NULL) {
        n++;
        expired += X509_cmp_current_time(X509_get0_notAfter(x)) < 0;
        if (X509_STORE_add_cert(store, x) != 1 || SSL_CTX_add_client_CA(m->ctx, x) != 1)
            complain(m, TLS_CLIENT_CA, true, "certificate %u is refused by OpenSSL: %s", n, reason());
        X509_free(x);
    }
    BIO_free(from);
    if (!from || m->failed)
        m->failed = true;
    else if (bad)
        complain(m, TLS_CLIENT_CA, true, "certificate %u cannot be read: %s", n + 1, reason());
    else if (n == 0)
        complain(m, TLS_CLIENT_CA, true,
                 "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): nobody could connect");
    if (expired > 0)
        complain(m, TLS_CLIENT_CA, false,
                 "%u of its %u authorities have expired: their clients are refused", expired, n);
    /* An authority is one because it is in this file, whoever has signed it. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(m->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(m->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

/* Sessions are resumed only with the files they began with: what a client has shown then is not
   asked for again. */
static bool bind_sessions(SSL_CTX *ctx, const struct tls_pem *pem)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

    for (unsigned part = 0; part < TLS_PARTS; part++)
        if (part != TLS_KEY)
            good = good && EVP_DigestUpdate(md, &pem[part].n, sizeof(pem[part].n)) == 1 &&
                   EVP_DigestUpdate(md, pem[part].text, pem[part].n) == 1;
    good = good && EVP_DigestFinal_ex(md, digest, &n) == 1 &&
           SSL_CTX_set_session_id_context(ctx, digest, n) == 1;
    EVP_MD_CTX_free(md);
    return good;
}

static bool set_up(SSL_CTX *ctx, const struct tickets *tickets)
{
    long oldest = SSL_CTX_get_min_proto_version(ctx);

    if (oldest < TLS1_2_VERSION && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
        return false;
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* An idle connection has no buffers; a full one is retried with what has not been sent. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TICKETS_LIFE_S);
    SSL_CTX_set_app_data(ctx, (void *)tickets);
    if (!tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return !tickets || SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1;
}

struct ssl_ctx_st *tls_context(const struct tls_pem pem[TLS_PARTS], const struct tickets *tickets,
                               tls_say *say, void *arg)
{
    struct making m = {.say = say, .arg = arg};

    m.ctx = SSL_CTX_new(TLS_server_method());
    m.failed = !m.ctx || !make_wire() || !set_up(m.ctx, tickets) || !bind_sessions(m.ctx, pem);
    if (!m.failed)
        use_chain(&m, &pem[TLS_CERT]);
    if (!m.failed)
        use_key(&m, &pem[TLS_KEY], &pem[TLS_CERT]);
    if (pem[TLS_CLIENT_CA].n > 0 && m.ctx) {
        /* Also when the pair is no good: all that is wrong is said at once. */
        bool failed = m.failed;

        m.failed = false;
        use_authorities(&m, &pem[TLS_CLIENT_CA]);
        m.failed |= failed;
    }
    ERR_clear_error();
    if (!m.failed)
        return m.ctx;
    SSL_CTX_free(m.ctx);
    return NULL;
}

void tls_context_free(struct ssl_ctx_st *context)
{
    SSL_CTX_free(context);
}
