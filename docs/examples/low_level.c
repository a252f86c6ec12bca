/*
 * low_level.c - one connection, and the commands of the protocol.
 *
 * Prints:
 *     acquired: token=TOKEN lease=33s
 *     renewed: 33s remaining
 *     released
 */
#include <dflock.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
    struct dflock_grant g;
    dflock_conn *c;
    uint64_t left;

    if (dflock_dial(&c, "127.0.0.1:6388", NULL) < 0)
        errx(1, "%s", dflock_error_text());

    if (dflock_conn_acquire(c, "my-key", 10, 0, &g) < 0)
        errx(1, "%s", dflock_error_text());
    printf("acquired: token=%s lease=%ds\n", g.token, (int)g.lease);

    if (dflock_conn_renew(c, "my-key", g.token, 0, &left) < 0)
        errx(1, "%s", dflock_error_text());
    printf("renewed: %ds remaining\n", (int)left);

    if (dflock_conn_release(c, "my-key", g.token) < 0)
        errx(1, "%s", dflock_error_text());
    puts("released");
    dflock_conn_free(c);
    return 0;
}
