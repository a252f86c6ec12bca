/*
 * tests/client/misuse/null.c - no address, no handle, nowhere to store a result: an error, no
 * crash. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static const char *const ADDRESSES[] = {
    "",        "host:",   ":6388",   "host:0",  "host:65536",  "host:x",
    "[::1",    "[::1]x",  "unix:",   "a,b",     "host\n:6388", "a b:6388",
    "host:-1", "host:+1", "host: 1", "[]:6388", "::1:6388",    "unix:relative",
};

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    struct dflock_grant g;
    char path[300] = "unix:/";
    dflock_conn *c;

    if (argc != 2)
        bail_out("the address of a server is missing");
    is_int(dflock_dial(&c, NULL, NULL), DFLOCK_ERR_INVALID, "no address");
    ok(c == NULL, "nothing is stored");
    for (size_t i = 0; i < sizeof(ADDRESSES) / sizeof(ADDRESSES[0]); i++) {
        c = (dflock_conn *)o;
        is_int(dflock_dial(&c, ADDRESSES[i], NULL), DFLOCK_ERR_INVALID, "the address \"%s\"",
               ADDRESSES[i]);
        ok(c == NULL, "nothing is stored");
        is_int(dflock_dial_start(&c, ADDRESSES[i], NULL), DFLOCK_ERR_INVALID, "to start, too");
        if (strcmp(ADDRESSES[i], "a,b") != 0)
            is_int(dflock_options_set_servers(o, ADDRESSES[i]), DFLOCK_ERR_INVALID, "as an option");
    }
    memset(path + 6, 'p', sizeof(path) - 7);
    is_int(dflock_dial(&c, path, NULL), DFLOCK_ERR_INVALID, "a path that no socket has");
    is_int(dflock_options_set_servers(o, NULL), DFLOCK_ERR_INVALID, "no servers");
    is_int(dflock_options_set_servers(o, "a:1,,b:2"), DFLOCK_ERR_INVALID, "a server that is empty");

    if (dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    is_int(dflock_conn_show(c, "key", (enum dflock_kind)3, &(const char *){NULL}, NULL),
           DFLOCK_ERR_INVALID, "no such kind");
    is_int(dflock_conn_submit(c, NULL, "", ""), DFLOCK_ERR_INVALID, "no command");
    is_int(dflock_conn_submit(c, "ping", "a\nb", ""), DFLOCK_ERR_INVALID, "two lines");
    is_int(dflock_conn_submit(c, "ping", "", "a\r"), DFLOCK_ERR_INVALID, "a carriage return");
    is_int(dflock_conn_acquire(c, "null", 0, 0, &g), 0, "the connection is as good as ever");
    is_int(dflock_conn_renew(c, "null", g.token, 0, NULL), 0, "a renewal that is not stored");
    dflock_conn_free(c);
    dflock_conn_free(NULL);
    dflock_options_free(o);
    dflock_options_free(NULL);
    return done_testing();
}
