/*
 * config/secret.h - the accepted tokens: where they come from, and the one comparison.
 *
 * Only SHA-256 digests are kept, so neither the region nor a core dump holds a token, and comparing
 * takes the same time for tokens of any length.
 *
 * Read by the master (at start, at reload); secret_match() runs in any process. Takes no lock.
 */
#ifndef CONFIG_SECRET_H
#define CONFIG_SECRET_H

#include "config/report.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    SECRET_MAX = 16,          /* tokens in a set */
    SECRET_TOKEN_MAX = 65536, /* bytes of a token: what an auth line can carry */
    SECRET_DIGEST = 32,
};

/* Plain memory without pointers. count 0: no token was configured. */
struct secret_set {
    unsigned count;
    unsigned char digest[SECRET_MAX][SECRET_DIGEST];
};

/* Makes the cryptographic library open what it opens once: workers, who compare, cannot open files.
 * Before the first fork. False: it does not work. */
bool secret_prepare(void);

/* The token's bytes without white space (TAB LF VT FF CR SP) at its ends, as the protocol takes
 * them. Moves *token, returns the length left. */
size_t secret_trim(const char **token, size_t n);

/* Trims and adds. Returns NULL, or what is wrong ("is empty", …) with the set unchanged. */
const char *secret_add(struct secret_set *set, const char *token, size_t n);

/* Replaces the set by the file's tokens, one a line, blank lines skipped; the first is the current
 * one. Returns 0, or ERR_CONFIG with the set empty and the reason reported under `origin`. */
int secret_load_file(struct secret_set *set, const char *path, const char *origin,
                     struct config_report *report);

/* Warns if everybody may read that file, which has a secret in it. */
void secret_warn_public(const char *path, const char *origin, struct config_report *report);

/* Whether the token, already trimmed, is in the set. The time taken depends on n and on the number
 * of tokens only. An empty set matches nothing. */
bool secret_match(const struct secret_set *set, const void *token, size_t n);

#endif
