/*
 * where/where.h - which servers to ask, and how to reach them: the options that dflock, dflockctl
 * and dflock-bench have in common, and their environment variables. The command line wins over the
 * environment; an empty variable counts as unset.
 *
 * A program puts WHERE_SHORT and WHERE_LONG into what it gives to getopt_long(), hands what comes
 * back to where_take(), and calls where_finish() at the end. Nothing is printed here but the help.
 * One thread.
 */
#ifndef WHERE_WHERE_H
#define WHERE_WHERE_H

#include "client/dflock.h"

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* ROW(id, what getopt_long() returns, name, its argument or NULL, variable or NULL, help) */
#define WHERE_ROWS(ROW)                                                                            \
    ROW(SERVERS, 's', "servers", "LIST", "DFLOCK_SERVERS",                                         \
        "host:port, [ipv6]:port or unix:/path, separated by commas: a key belongs to one of\n"     \
        "      them, by its hash, so all clients need the same list; default 127.0.0.1:6388")      \
    ROW(UNIX, 0x1001, "unix", "PATH", NULL,                                                        \
        "the server on this Unix socket, instead of --servers")                                    \
    ROW(TLS, 0x1002, "tls", NULL, "DFLOCK_TLS",                                                    \
        "encrypt, and check the server's certificate; so does any --tls-... option")               \
    ROW(NO_TLS, 0x1003, "no-tls", NULL, NULL, "no TLS, whatever the environment says")             \
    ROW(TLS_CA_FILE, 0x1004, "tls-ca-file", "PATH", "DFLOCK_TLS_CA_FILE",                          \
        "authorities to trust, PEM, instead of the system's")                                      \
    ROW(TLS_SERVER_NAME, 0x1005, "tls-server-name", "NAME", "DFLOCK_TLS_SERVER_NAME",              \
        "name that the certificate must have; default: the server's in --servers")                 \
    ROW(TLS_CLIENT_CERT, 0x1006, "tls-client-cert", "PATH", "DFLOCK_TLS_CLIENT_CERT",              \
        "certificate to show to the server, PEM; needs --tls-client-key")                          \
    ROW(TLS_CLIENT_KEY, 0x1007, "tls-client-key", "PATH", "DFLOCK_TLS_CLIENT_KEY",                 \
        "its private key, PEM; needs --tls-client-cert")                                           \
    ROW(TLS_INSECURE, 0x1008, "tls-insecure", NULL, NULL,                                          \
        "take any certificate: who is in the middle reads and changes everything")                 \
    ROW(AUTH_TOKEN_FILE, 0x1009, "auth-token-file", "PATH", "DFLOCK_AUTH_TOKEN_FILE",              \
        "file whose first line is the token that the servers want")                                \
    ROW(CONNECT_TIMEOUT, 0x100a, "connect-timeout", "SECONDS", "DFLOCK_CONNECT_TIMEOUT",           \
        "for connecting, and for an answer that needs to wait for nobody; default 10")

#define WHERE_ENUM(id, value, name, arg, env, help) WHERE_##id = (value),
enum where_option { WHERE_ROWS(WHERE_ENUM) };

#define WHERE_GETOPT(id, value, name, arg, env, help)                                              \
    {name, (arg) != NULL ? required_argument : no_argument, NULL, value},
/* Rows for getopt_long(); the last one has its comma. */
#define WHERE_LONG WHERE_ROWS(WHERE_GETOPT)
#define WHERE_SHORT "s:"

enum { WHERE_N = 11, WHERE_TEXT_MAX = 512 };

/* Zeroed at first; strings that come from the command line are not copied. */
struct where {
    const char *given[WHERE_N]; /* on the command line */
    char *list;                 /* owned: what `server` points into */
    const char **server;        /* owned: addresses for dflock_dial(), in the order of the shards */
    size_t nservers;
    double connect_timeout; /* seconds */
    char error[WHERE_TEXT_MAX];
};

/* True if what getopt_long() returned is one of the options here. */
bool where_take(struct where *w, int option, const char *arg);

/* Adds the environment, checks, sets *o and the list of servers. 0, or -1 with w->error for a
   person:
   "--tls-ca-file: …", without the program's name and without a LF. */
int where_finish(struct where *w, dflock_options *o);

void where_free(struct where *w);

/* A row of --help in the form that all programs here have, because bash completes from it: a line
   "  -s, --servers LIST", and below it what it is about, indented by six blanks. `value` is a
   letter or, from 0x1000 on, none. */
void where_help_row(FILE *out, int value, const char *name, const char *arg, const char *help);

/* The options here, under a title. */
void where_help(FILE *out);

/* What went wrong in the library, dflock_error_text(), without the name of the C function. */
const char *where_reason(void);

#endif
