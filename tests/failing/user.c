/*
 * tests/failing/user.c - a program that uses libdflock while a call of it fails, run by
 * tests/e2e/failing_library_test.py. What fails is tried once more, and must do then. It says on
 * stdout what was refused, and allocates nothing itself. Its argument is the server's address.
 */
#include <dflock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *address;

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        exit(3);
}

static int refused(const char *what, int error)
{
    say(what);
    say(" ");
    say(dflock_error_name(error));
    say(": ");
    say(dflock_error_text());
    say("\n");
    return error;
}

static dflock_options *options(void)
{
    dflock_options *o = dflock_options_new();
    int r;

    if (!o) {
        say("options: no memory\n");
        return NULL;
    }
    r = dflock_options_set_servers(o, address);
    if (r >= 0)
        return o;
    refused("servers", r);
    dflock_options_free(o);
    return NULL;
}

/* Commands over a connection. 0 when all have done. */
static int low_level(void)
{
    struct dflock_grant g;
    dflock_conn *c = NULL;
    const char *json;
    uint64_t left;
    size_t len;
    int r = dflock_dial(&c, address, NULL);

    if (r < 0) {
        refused("dial", r);
        dflock_conn_free(c);
        return 1;
    }
    r = dflock_conn_acquire(c, "low", 5, 30, &g);
    if (r < 0)
        refused("acquire", r);
    if (r >= 0 && (r = dflock_conn_renew(c, "low", g.token, 30, &left)) < 0)
        refused("renew", r);
    if (r >= 0 && (r = dflock_conn_stats(c, &json, &len)) < 0)
        refused("stats", r);
    if (r >= 0 && (r = dflock_conn_release(c, "low", g.token)) < 0)
        refused("release", r);
    dflock_conn_free(c); /* what it held is free */
    return r < 0;
}

/* A lock that renews itself. */
static int high_level(void)
{
    dflock_options *o = options();
    dflock *l = o ? dflock_lock_new("high", o) : NULL;
    int r;

    dflock_options_free(o);
    if (!l) {
        if (o)
            say("lock: no memory\n");
        return 1;
    }
    r = dflock_acquire(l);
    if (r < 0)
        refused("acquire", r);
    else if (!dflock_is_held(l))
        say("acquired, and not held\n");
    if (r >= 0 && (r = dflock_release(l)) < 0)
        refused("release", r);
    dflock_free(l);
    return r < 0;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    address = argv[1];
    if (low_level() && low_level())
        return 1;
    if (high_level() && high_level())
        return 1;
    say("done\n");
    return 0;
}
