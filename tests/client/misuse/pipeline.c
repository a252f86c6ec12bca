/*
 * tests/client/misuse/pipeline.c - blocking calls while replies are outstanding are refused, and
 * all is well again when they have been taken. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct dflock_reply reply;
    struct dflock_grant g;
    dflock_conn *c;
    int r;

    if (argc != 2 || dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    is_int(dflock_conn_next(c, &reply), 0, "no reply where nothing was asked");
    is_int(dflock_conn_submit(c, "l", "pipeline", "0 60"), 0, "submit");
    is_int(dflock_conn_ping(c), DFLOCK_ERR_STATE, "ping while a request is queued");
    is_int(dflock_conn_process(c), 0, "process");
    is_int(dflock_conn_acquire(c, "pipeline", 0, 0, &g), DFLOCK_ERR_STATE, "acquire");
    while ((r = dflock_conn_next(c, &reply)) == 0) {
        struct pollfd p = {.fd = dflock_conn_fd(c), .events = (short)dflock_conn_events(c)};

        poll(&p, 1, dflock_conn_timeout_ms(c));
        dflock_conn_process(c);
    }
    is_int(r, 1, "its reply");
    is_int(reply.status, 0, "is a grant: %s", reply.text);
    is_u64(reply.seconds, 60, "of 60 s");
    is_u64(strlen(reply.token), 32, "with a token");
    is_u64(reply.len, strlen(reply.text), "the length is that of the text");
    is_int(dflock_conn_ping(c), 0, "ping, when nothing is outstanding");
    is_int(dflock_conn_next(c, &reply), 0, "and its reply is not a submitted one's");
    dflock_conn_free(c);
    return done_testing();
}
