/*
 * tests/client/misuse/tokens.c - what is no token, and what is no secret, is refused, and nothing
 * is sent. Argument: the address of a server.
 */
#include "client/dflock.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>

static void refused(dflock_conn *c, const char *token, const char *what)
{
    is_int(dflock_conn_release(c, "key", token), DFLOCK_ERR_INVALID, "release: %s", what);
    ok(strstr(dflock_error_text(), "token") != NULL, "it says that it is the token: %s",
       dflock_error_text());
    is_int(dflock_conn_renew(c, "key", token, 0, NULL), DFLOCK_ERR_INVALID, "renew: %s", what);
    is_int(dflock_conn_sem_release(c, "key", token), DFLOCK_ERR_INVALID, "sem_release: %s", what);
    is_int(dflock_conn_sem_renew(c, "key", token, 0, NULL), DFLOCK_ERR_INVALID, "sem_renew: %s",
           what);
    ok(dflock_token_fence(token) == 0, "no fence: %s", what);
}

static void no_secret(dflock_conn *c, dflock_options *o, const char *secret, const char *what)
{
    is_int(dflock_conn_authenticate(c, secret), DFLOCK_ERR_INVALID, "authenticate: %s", what);
    if (secret)
        is_int(dflock_options_set_auth_token(o, secret), DFLOCK_ERR_INVALID, "the option: %s",
               what);
}

int main(int argc, char **argv)
{
    static char secret[65538];
    dflock_options *o = dflock_options_new();
    dflock_conn *c;

    if (argc != 2 || dflock_dial(&c, argv[1], NULL) != 0)
        bail_out("no connection: %s", dflock_error_text());
    refused(c, NULL, "no token");
    refused(c, "", "an empty one");
    refused(c, "0123456789abcdef0123456789abcde", "31 digits");
    refused(c, "0123456789abcdef0123456789abcdef0", "33 digits");
    refused(c, "0123456789ABCDEF0123456789ABCDEF", "upper case");
    refused(c, "0123456789abcdef0123456789abcdeg", "a letter that is no digit");
    refused(c, "0123456789abcdef 0123456789abcde", "a blank");
    refused(c, "0123456789abcdef0123456789abcde\n", "a line feed");
    ok(dflock_token_fence("00000000000000ff0123456789abcdef") == 255, "the fence of a token");

    memset(secret, 's', sizeof(secret) - 1);
    no_secret(c, o, NULL, "no secret");
    no_secret(c, o, "", "an empty one");
    no_secret(c, o, "a\nping\n\n\n", "a line feed");
    no_secret(c, o, "a\r", "a carriage return");
    no_secret(c, o, secret, "65,537 bytes");
    is_int(dflock_conn_ping(c), 0, "the connection is as good as ever");
    dflock_options_free(o);
    dflock_conn_free(c);
    return done_testing();
}
