/*
 * tests/client/misuse/threads.c - four threads use one connection without asking each other: they
 * take turns, and each gets its own answers. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 200 };

static dflock_conn *conn;

/* Returns what went wrong, or NULL. */
static void *rounds(void *arg)
{
    int id = *(int *)arg;
    char key[32], wrong[64] = "";
    struct dflock_grant g;
    uint64_t left;

    snprintf(key, sizeof(key), "thread-%d", id);
    for (int i = 0; i < ROUNDS && !*wrong; i++) {
        uint64_t lease = (uint64_t)(id + 1) * 1000 + (uint64_t)i;

        if (dflock_conn_acquire(conn, key, 0, lease, &g) != 0 || g.lease != lease)
            snprintf(wrong, sizeof(wrong), "acquire in round %d", i);
        else if (dflock_conn_renew(conn, key, g.token, lease + 1, &left) != 0 || left != lease + 1)
            snprintf(wrong, sizeof(wrong), "renew in round %d", i);
        else if (dflock_conn_release(conn, key, g.token) != 0)
            snprintf(wrong, sizeof(wrong), "release in round %d", i);
        /* An error belongs to its thread. */
        else if (dflock_conn_release(conn, key, key) != DFLOCK_ERR_INVALID ||
                 !strstr(dflock_error_text(), "release"))
            snprintf(wrong, sizeof(wrong), "the error's text in round %d", i);
    }
    return *wrong ? strdup(wrong) : NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int ids[THREADS];

    if (argc != 2 || dflock_dial(&conn, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        if (pthread_create(&threads[i], NULL, rounds, &ids[i]) != 0)
            bail_out("no thread");
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;

        pthread_join(threads[i], &wrong);
        ok(!wrong, "thread %d: %s", i, wrong ? (char *)wrong : "all answers are its own");
        free(wrong);
    }
    is_str(dflock_error_text(), "", "nothing has failed in this thread");
    dflock_conn_free(conn);
    return done_testing();
}
