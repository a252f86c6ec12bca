/*
 * config/secret.c - see secret.h.
 */
#include "config/secret.h"

#include "base/err.h"
#include "base/io.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* All tokens at their longest, with line ends, and some room for blank lines. */
enum { FILE_MAX = SECRET_MAX * (SECRET_TOKEN_MAX + 2) + 65536 };

static const char too_many[] = "is one more than the 16 that are accepted";

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

size_t secret_trim(const char **token, size_t n)
{
    const char *p = *token;

    while (n > 0 && is_space(p[n - 1]))
        n--;
    while (n > 0 && is_space(p[0]))
        p++, n--;
    *token = p;
    return n;
}

static bool digest(const void *token, size_t n, unsigned char out[SECRET_DIGEST])
{
    unsigned len;

    return EVP_Digest(token, n, out, &len, EVP_sha256(), NULL) == 1 && len == SECRET_DIGEST;
}

bool secret_prepare(void)
{
    unsigned char out[SECRET_DIGEST];

    return digest("", 0, out);
}

const char *secret_add(struct secret_set *set, const char *token, size_t n)
{
    _Static_assert(SECRET_MAX == 16, "too_many says 16");

    n = secret_trim(&token, n);
    if (n == 0)
        return "is empty";
    if (memchr(token, '\n', n) != NULL || memchr(token, '\r', n) != NULL)
        return "holds a CR or LF";
    if (n > SECRET_TOKEN_MAX)
        return "is longer than 65536 bytes";
    if (set->count == SECRET_MAX)
        return too_many;
    if (!digest(token, n, set->digest[set->count]))
        return "cannot be hashed: the cryptographic library failed";
    set->count++;
    return NULL;
}

/* Stops at the first bad line: what follows it may be the wrong kind of file altogether. */
static bool add_lines(struct secret_set *set, const char *text, size_t n, const char *path,
                      const char *origin, struct config_report *report)
{
    const char *end = text + n;

    for (unsigned number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((newline != NULL ? newline : end) - text);
        const char *token = text;
        const char *wrong = NULL;

        if (secret_trim(&token, len) > 0)
            wrong = secret_add(set, text, len);
        if (wrong != NULL) {
            report_error(report, "%s: %s:%u: the token %s", origin, path, number, wrong);
            return false;
        }
        text += len + (newline != NULL);
    }
    if (set->count == 0)
        report_error(report, "%s: %s: holds no token: write one a line into it", origin, path);
    return set->count > 0;
}

void secret_warn_public(const char *path, const char *origin, struct config_report *report)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & S_IROTH)
        report_warn(report, "%s: every user of this machine may read %s: chmod o-r it", origin,
                    path);
}

int secret_load_file(struct secret_set *set, const char *path, const char *origin,
                     struct config_report *report)
{
    char *buf = malloc(FILE_MAX);
    bool good = false;
    ssize_t n;

    memset(set, 0, sizeof(*set));
    if (buf == NULL) {
        report_no_memory(report, origin, path);
        return ERR_CONFIG;
    }
    n = io_read_file(path, buf, FILE_MAX);
    if (n < 0)
        report_unreadable(report, origin, path, (int)n);
    else
        good = add_lines(set, buf, (size_t)n, path, origin, report);
    explicit_bzero(buf, FILE_MAX);
    free(buf);
    if (good) {
        secret_warn_public(path, origin, report);
        return 0;
    }
    memset(set, 0, sizeof(*set));
    return ERR_CONFIG;
}

bool secret_match(const struct secret_set *set, const void *token, size_t n)
{
    unsigned char given[SECRET_DIGEST];
    bool found = false;

    if (!digest(token, n, given))
        return false;
    /* All of them: an early exit would tell which one matched. */
    for (unsigned i = 0; i < set->count; i++)
        found |= CRYPTO_memcmp(set->digest[i], given, SECRET_DIGEST) == 0;
    explicit_bzero(given, sizeof(given));
    return found;
}
