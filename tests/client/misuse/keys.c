/*
 * tests/client/misuse/keys.c - what is no key is refused by every call that takes one, and nothing
 * is sent. A NUL ends a key, as it ends every string. Argument: the address of a server, which the
 * test that runs this holds against what it was sent.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static const char TOKEN[] = "0123456789abcdef0123456789abcdef";

static void refused(dflock_conn *c, const char *key, const char *what)
{
    struct dflock_grant g;
    const char *json;
    size_t len;

    is_int(dflock_conn_acquire(c, key, 0, 0, &g), DFLOCK_ERR_INVALID, "acquire: %s", what);
    ok(strstr(dflock_error_text(), "key") != NULL, "it says that it is the key: %s",
       dflock_error_text());
    is_int(dflock_conn_release(c, key, TOKEN), DFLOCK_ERR_INVALID, "release: %s", what);
    is_int(dflock_conn_renew(c, key, TOKEN, 0, NULL), DFLOCK_ERR_INVALID, "renew: %s", what);
    is_int(dflock_conn_enqueue(c, key, 0, &g), DFLOCK_ERR_INVALID, "enqueue: %s", what);
    is_int(dflock_conn_wait(c, key, 0, &g), DFLOCK_ERR_INVALID, "wait: %s", what);
    is_int(dflock_conn_sem_acquire(c, key, 0, 2, 0, &g), DFLOCK_ERR_INVALID, "sem_acquire: %s",
           what);
    is_int(dflock_conn_sem_release(c, key, TOKEN), DFLOCK_ERR_INVALID, "sem_release: %s", what);
    is_int(dflock_conn_sem_renew(c, key, TOKEN, 0, NULL), DFLOCK_ERR_INVALID, "sem_renew: %s",
           what);
    is_int(dflock_conn_sem_enqueue(c, key, 2, 0, &g), DFLOCK_ERR_INVALID, "sem_enqueue: %s", what);
    is_int(dflock_conn_sem_wait(c, key, 0, &g), DFLOCK_ERR_INVALID, "sem_wait: %s", what);
    is_int(dflock_conn_show(c, key, DFLOCK_LOCK, &json, &len), DFLOCK_ERR_INVALID, "show: %s",
           what);
    is_int(dflock_conn_evict(c, key, DFLOCK_LOCK, 0), DFLOCK_ERR_INVALID, "evict: %s", what);
}

int main(int argc, char **argv)
{
    char longest[257], too_long[258];
    dflock_conn *c;

    memset(longest, 'k', sizeof(longest));
    longest[256] = 0;
    memset(too_long, 'k', sizeof(too_long));
    too_long[257] = 0;
    if (argc != 2 || dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    refused(c, NULL, "no key");
    refused(c, "", "an empty key");
    refused(c, "two words", "a blank");
    refused(c, "a\tb", "a tab");
    refused(c, "key\nr\nkey\n", "a line feed, and a request of one's own behind it");
    refused(c, "key\r", "a carriage return");
    refused(c, too_long, "257 bytes");
    is_int(dflock_conn_ping(c), 0, "the connection is as good as ever");
    is_int(dflock_conn_wait(c, longest, 0, &(struct dflock_grant){.fence = 0}),
           DFLOCK_ERR_NOT_QUEUED, "256 bytes are sent, and answered");
    dflock_conn_free(c);
    return done_testing();
}
