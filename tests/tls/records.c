/*
 * tests/tls/records.c - a client of TLS 1.3 that sends what no library would: records without data,
 * and key updates without end.
 *
 *   records PORT empty N      N records without data, then a ping; prints the answer, or "closed"
 *   records PORT updates N    N key updates, answers to which are asked for, then a ping
 *   records PORT flood N      N key updates, as fast as they can be sent; prints "sent" or "closed"
 *
 * Its own records are encrypted here, with the secret that OpenSSL logs: it must not send anything
 * itself afterwards.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEY = 16, IV = 12, TAG = 16, SECRET = 32, HEADER = 5, MOST = 1024 };

static unsigned char secret[SECRET];
static unsigned char key[KEY], iv[IV];
static uint64_t sequence;

static void fail(const char *what)
{
    fprintf(stderr, "records: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void logged(const SSL *ssl, const char *line)
{
    const char *hex = strrchr(line, ' ');

    (void)ssl;
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0)
        return;
    for (unsigned i = 0; i < SECRET; i++)
        if (sscanf(hex + 1 + 2 * i, "%2hhx", &secret[i]) != 1)
            fail("the secret");
}

static void expand(char *label, unsigned char *out, size_t n)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[] = "SHA256", prefix[] = "tls13 ";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, sizeof(secret)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, strlen(prefix)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
        OSSL_PARAM_construct_end()};

    if (!ctx || EVP_KDF_derive(ctx, out, n, params) != 1)
        fail("a key");
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* One record of application data. False when the connection is closed. */
static int send_record(int fd, const char *data, size_t n)
{
    unsigned char record[HEADER + MOST + 1 + TAG] = {23, 3, 3};
    unsigned char nonce[IV], inner[MOST + 1];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t whole = n + 1 + TAG;
    int len;

    record[3] = (unsigned char)(whole >> 8);
    record[4] = (unsigned char)whole;
    memcpy(nonce, iv, IV);
    for (unsigned i = 0; i < 8; i++)
        nonce[IV - 1 - i] ^= (unsigned char)(sequence >> (8 * i));
    sequence++;
    if (n)
        memcpy(inner, data, n);
    inner[n] = 23;
    if (!ctx || !EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, nonce) ||
        !EVP_EncryptUpdate(ctx, NULL, &len, record, HEADER) ||
        !EVP_EncryptUpdate(ctx, record + HEADER, &len, inner, (int)n + 1) ||
        !EVP_EncryptFinal_ex(ctx, record + HEADER + len, &len) ||
        !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, record + HEADER + n + 1))
        fail("encryption");
    EVP_CIPHER_CTX_free(ctx);
    return send(fd, record, HEADER + whole, MSG_NOSIGNAL) == (ssize_t)(HEADER + whole);
}

static SSL *handshake(int fd)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"))
        fail("a context");
    SSL_CTX_set_keylog_callback(ctx, logged);
    ssl = SSL_new(ctx);
    if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
        fail("the handshake");
    SSL_CTX_free(ctx); /* the connection has it */
    return ssl;
}

static void answer(SSL *ssl)
{
    char text[256];
    int n = SSL_read(ssl, text, sizeof(text) - 1);

    if (n <= 0) {
        puts("closed");
        return;
    }
    text[n] = '\0';
    fputs(text, stdout);
}

static void empty(SSL *ssl, int fd, long n)
{
    static const char ping[] = "ping\n\n\n";
    char label_key[] = "key", label_iv[] = "iv";
    int good = 1;

    expand(label_key, key, sizeof(key));
    expand(label_iv, iv, sizeof(iv));
    while (good && n-- > 0)
        good = send_record(fd, NULL, 0);
    if (good)
        send_record(fd, ping, sizeof(ping) - 1);
    answer(ssl);
}

static int update(SSL *ssl, int type)
{
    return SSL_key_update(ssl, type) == 1 && SSL_do_handshake(ssl) == 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, good = 1;
    long n;
    SSL *ssl;

    if (argc != 4)
        fail("usage: records PORT MODE N");
    signal(SIGPIPE, SIG_IGN);
    sa.sin_port = htons((uint16_t)atoi(argv[1]));
    n = atol(argv[3]);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ssl = handshake(fd);
    if (strcmp(argv[2], "empty") == 0) {
        empty(ssl, fd, n);
    } else if (strcmp(argv[2], "updates") == 0) {
        while (good && n-- > 0)
            good = update(ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(ssl, "ping\n\n\n", 7);
        answer(ssl);
    } else {
        while (good && n-- > 0)
            good = update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        puts(good ? "sent" : "closed");
    }
    SSL_free(ssl);
    close(fd);
    return 0;
}
