/*
 * tests/client/misuse/closed.c - a connection that was closed: every call says so, and closing it
 * again does nothing. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <stdlib.h>

static const char TOKEN[] = "0123456789abcdef0123456789abcdef";

int main(int argc, char **argv)
{
    struct dflock_reply reply;
    struct dflock_grant g;
    const char *json;
    dflock_conn *c;
    size_t len;

    if (argc != 2 || dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    is_int(dflock_conn_acquire(c, "closed", 0, 0, &g), 0, "a lock");
    dflock_conn_close(c);
    dflock_conn_close(c);

    is_int(dflock_conn_acquire(c, "key", 0, 0, &g), DFLOCK_ERR_CLOSED, "acquire");
    is_int(dflock_conn_release(c, "closed", g.token), DFLOCK_ERR_CLOSED, "release");
    is_int(dflock_conn_renew(c, "closed", g.token, 0, NULL), DFLOCK_ERR_CLOSED, "renew");
    is_int(dflock_conn_enqueue(c, "key", 0, &g), DFLOCK_ERR_CLOSED, "enqueue");
    is_int(dflock_conn_wait(c, "key", 0, &g), DFLOCK_ERR_CLOSED, "wait");
    is_int(dflock_conn_sem_acquire(c, "key", 0, 2, 0, &g), DFLOCK_ERR_CLOSED, "sem_acquire");
    is_int(dflock_conn_sem_release(c, "key", TOKEN), DFLOCK_ERR_CLOSED, "sem_release");
    is_int(dflock_conn_sem_renew(c, "key", TOKEN, 0, NULL), DFLOCK_ERR_CLOSED, "sem_renew");
    is_int(dflock_conn_sem_enqueue(c, "key", 2, 0, &g), DFLOCK_ERR_CLOSED, "sem_enqueue");
    is_int(dflock_conn_sem_wait(c, "key", 0, &g), DFLOCK_ERR_CLOSED, "sem_wait");
    is_int(dflock_conn_authenticate(c, "secret"), DFLOCK_ERR_CLOSED, "authenticate");
    is_int(dflock_conn_ping(c), DFLOCK_ERR_CLOSED, "ping");
    is_int(dflock_conn_stats(c, &json, &len), DFLOCK_ERR_CLOSED, "stats");
    is_int(dflock_conn_list(c, "", NULL, &json, &len), DFLOCK_ERR_CLOSED, "list");
    is_int(dflock_conn_show(c, "key", DFLOCK_LOCK, &json, &len), DFLOCK_ERR_CLOSED, "show");
    is_int(dflock_conn_evict(c, "key", DFLOCK_LOCK, 0), DFLOCK_ERR_CLOSED, "evict");
    is_int(dflock_conn_cancel(c), DFLOCK_ERR_CLOSED, "cancel");
    is_int(dflock_conn_submit(c, "ping", "", ""), DFLOCK_ERR_CLOSED, "submit");
    is_int(dflock_conn_next(c, &reply), DFLOCK_ERR_CLOSED, "next");
    is_int(dflock_conn_process(c), DFLOCK_ERR_CLOSED, "process");
    is_int(dflock_conn_fd(c), -1, "no descriptor");
    dflock_conn_free(c);
    dflock_conn_free(NULL);

    if (dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    is_int(dflock_conn_acquire(c, "closed", 10, 0, &g), 0, "the server has released the lock");
    dflock_conn_free(c);
    return done_testing();
}
