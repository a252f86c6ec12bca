/*
 * tests/client/misuse/numbers.c - timeouts, leases and limits that are none are refused, and
 * nothing is sent. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char TOKEN[] = "0123456789abcdef0123456789abcdef";

static void bad_timeout(dflock_conn *c, double seconds)
{
    struct dflock_grant g;

    is_int(dflock_conn_acquire(c, "key", seconds, 0, &g), DFLOCK_ERR_INVALID, "acquire: %g",
           seconds);
    ok(strstr(dflock_error_text(), "timeout") != NULL, "it says that it is the timeout: %s",
       dflock_error_text());
    is_int(dflock_conn_wait(c, "key", seconds, &g), DFLOCK_ERR_INVALID, "wait: %g", seconds);
    is_int(dflock_conn_sem_acquire(c, "key", seconds, 2, 0, &g), DFLOCK_ERR_INVALID,
           "sem_acquire: %g", seconds);
    is_int(dflock_conn_sem_wait(c, "key", seconds, &g), DFLOCK_ERR_INVALID, "sem_wait: %g",
           seconds);
}

static void bad_lease(dflock_conn *c, uint64_t lease)
{
    struct dflock_grant g;

    is_int(dflock_conn_acquire(c, "key", 0, lease, &g), DFLOCK_ERR_INVALID, "acquire");
    ok(strstr(dflock_error_text(), "lease") != NULL, "it says that it is the lease: %s",
       dflock_error_text());
    is_int(dflock_conn_enqueue(c, "key", lease, &g), DFLOCK_ERR_INVALID, "enqueue");
    is_int(dflock_conn_renew(c, "key", TOKEN, lease, NULL), DFLOCK_ERR_INVALID, "renew");
    is_int(dflock_conn_sem_acquire(c, "key", 0, 2, lease, &g), DFLOCK_ERR_INVALID, "sem_acquire");
    is_int(dflock_conn_sem_enqueue(c, "key", 2, lease, &g), DFLOCK_ERR_INVALID, "sem_enqueue");
    is_int(dflock_conn_sem_renew(c, "key", TOKEN, lease, NULL), DFLOCK_ERR_INVALID, "sem_renew");
}

static void bad_limit(dflock_conn *c, uint32_t limit)
{
    struct dflock_grant g;

    is_int(dflock_conn_sem_acquire(c, "key", 0, limit, 0, &g), DFLOCK_ERR_INVALID,
           "sem_acquire: limit %u", limit);
    ok(strstr(dflock_error_text(), "limit") != NULL, "it says that it is the limit: %s",
       dflock_error_text());
    is_int(dflock_conn_sem_enqueue(c, "key", limit, 0, &g), DFLOCK_ERR_INVALID,
           "sem_enqueue: limit %u", limit);
}

int main(int argc, char **argv)
{
    dflock_options *o = dflock_options_new();
    dflock_conn *c;

    if (argc != 2 || dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    bad_timeout(c, -1);
    bad_timeout(c, -1e-9);
    bad_timeout(c, NAN);
    bad_timeout(c, INFINITY);
    bad_timeout(c, -INFINITY);
    bad_timeout(c, 9223372037.0);
    bad_timeout(c, 1e300);
    bad_lease(c, 9223372037);
    bad_lease(c, UINT64_MAX);
    bad_limit(c, 0);
    bad_limit(c, 1048577);
    bad_limit(c, UINT32_MAX);
    is_int(dflock_conn_ping(c), 0, "the connection is as good as ever");
    dflock_conn_free(c);

    is_int(dflock_options_set_acquire_timeout(o, -1), DFLOCK_ERR_INVALID, "acquire timeout -1");
    is_int(dflock_options_set_acquire_timeout(o, NAN), DFLOCK_ERR_INVALID, "acquire timeout NaN");
    is_int(dflock_options_set_acquire_timeout(o, 0), 0, "acquire timeout 0 tries");
    is_int(dflock_options_set_connect_timeout(o, 0), DFLOCK_ERR_INVALID, "connect timeout 0");
    is_int(dflock_options_set_connect_timeout(o, INFINITY), DFLOCK_ERR_INVALID,
           "connect timeout: infinity");
    is_int(dflock_options_set_lease(o, 9223372037), DFLOCK_ERR_INVALID, "the longest lease and 1");
    is_int(dflock_options_set_lease(o, 9223372036), 0, "the longest lease");
    is_int(dflock_options_set_renew(o, 0, 0), DFLOCK_ERR_INVALID, "ratio 0");
    is_int(dflock_options_set_renew(o, 1, 0), DFLOCK_ERR_INVALID, "ratio 1");
    is_int(dflock_options_set_renew(o, NAN, 0), DFLOCK_ERR_INVALID, "ratio NaN");
    is_int(dflock_options_set_renew(o, 0.5, 1), DFLOCK_ERR_INVALID, "jitter 1");
    is_int(dflock_options_set_renew(o, 0.5, -0.1), DFLOCK_ERR_INVALID, "jitter below 0");
    is_int(dflock_options_set_renew(o, 0.5, NAN), DFLOCK_ERR_INVALID, "jitter NaN");
    is_int(dflock_options_set_renew(o, 0.5, 0), 0, "no jitter");
    dflock_options_free(o);
    return done_testing();
}
