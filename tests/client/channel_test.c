/*
 * tests/client/channel_test.c - one connection to a server that a script plays: bytes in any pieces,
 * ends at any place, answers that no dflockd gives.
 */
#include "client/channel.h"
#include "base/clock.h"
#include "tests/tap.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN "18ea2166d32f3c91342c2b878b70985b"

struct peer {
    int listener, fd;
    struct dflock_options *o;
    struct addr name;
    struct addr_list to;
    struct channel *c;
};

static uint64_t give_up;

/* Until it has happened; ends the test after 20 s. */
static bool turn(struct channel *c)
{
    struct pollfd p = {.fd = channel_fd(c), .events = channel_events(c)};

    if (clock_boottime_ns() > give_up)
        bail_out("nothing happens");
    (void)poll(&p, 1, 5);
    return channel_process(c, clock_boottime_ns()) == 0;
}

static void dial(struct peer *p, const char *secret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct failure f = {0};
    socklen_t n = sizeof(in);
    char text[32];

    give_up = clock_boottime_ns() + UINT64_C(20000000000);
    p->o = dflock_options_new();
    if (secret && dflock_options_set_auth_token(p->o, secret) != 0)
        bail_out("no secret");
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(p->listener, (struct sockaddr *)&in, n) != 0 || listen(p->listener, 8) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&in, &n) != 0)
        bail_out("no listener: %s", strerror(errno));
    (void)snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
    if (addr_parse(&p->name, text, strlen(text), &f) || addr_resolve(&p->name, &p->to, &f))
        bail_out("%s", f.text);
    p->c = channel_new(p->o);
    channel_dial(p->c, &p->name, &p->to, clock_boottime_ns());
    (void)turn(p->c);
    p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    while (!secret && !channel_is_ready(p->c))
        (void)turn(p->c);
}

static void hang_up(struct peer *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    (void)close(p->listener);
    channel_free(p->c);
    addr_free(&p->name);
    dflock_options_free(p->o);
}

static void say(struct peer *p, const char *bytes, size_t n)
{
    if (send(p->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
        bail_out("the test's own socket: %s", strerror(errno));
}

/* What the channel has sent must be exactly this. */
static bool heard(struct peer *p, const char *want)
{
    char got[8192];
    size_t n = 0;

    while (n < strlen(want)) {
        ssize_t more = recv(p->fd, got + n, strlen(want) - n, MSG_DONTWAIT);

        if (more > 0)
            n += (size_t)more;
        else if (more == 0 || !turn(p->c))
            return false;
    }
    return memcmp(got, want, n) == 0;
}

static int next_status(struct peer *p, struct dflock_reply *r)
{
    while (!channel_reply(p->c, r))
        if (!turn(p->c))
            return channel_reply(p->c, r) ? r->status : channel_failure(p->c)->code;
    return r->status;
}

static void test_pieces(void)
{
    static const char answers[] = "ok " TOKEN " 33\nok\nqueued\nok 60\n";
    unsigned wrong = 0;

    for (size_t cut = 0; cut < sizeof(answers) - 1; cut++) {
        struct dflock_reply r;
        struct peer p;

        dial(&p, NULL);
        channel_request(p.c, "l", "k", "1");
        channel_request(p.c, "r", "k", TOKEN);
        channel_request(p.c, "e", "k", "");
        channel_request(p.c, "n", "k", TOKEN);
        wrong += !heard(&p, "l\nk\n1\nr\nk\n" TOKEN "\ne\nk\n\nn\nk\n" TOKEN "\n");
        say(&p, answers, cut);
        for (int i = 0; i < 3; i++)
            (void)turn(p.c);
        say(&p, answers + cut, sizeof(answers) - 1 - cut);
        wrong += next_status(&p, &r) != 0 || strcmp(r.token, TOKEN) != 0 || r.seconds != 33;
        wrong += next_status(&p, &r) != 0;
        wrong += next_status(&p, &r) != DFLOCK_QUEUED;
        wrong += next_status(&p, &r) != 0 || r.seconds != 60 || strcmp(r.text, "ok 60") != 0;
        wrong += channel_outstanding(p.c) != 0;
        hang_up(&p);
    }
    is_u64(wrong, 0, "four replies, cut at each byte");
}

static void test_ends(void)
{
    static const char answer[] = "ok " TOKEN " 33\n";
    unsigned wrong = 0;
    struct dflock_reply r;
    struct peer p;

    for (size_t cut = 0; cut < sizeof(answer) - 1; cut++) {
        dial(&p, NULL);
        channel_request(p.c, "l", "k", "1");
        wrong += !heard(&p, "l\nk\n1\n");
        say(&p, answer, cut);
        (void)close(p.fd);
        p.fd = -1;
        wrong += next_status(&p, &r) != DFLOCK_ERR_CONNECT;
        wrong += cut && !strstr(channel_failure(p.c)->text, "in the middle of a reply");
        wrong += channel_process(p.c, clock_boottime_ns()) != DFLOCK_ERR_CONNECT;
        hang_up(&p);
    }
    is_u64(wrong, 0, "an end within a reply, at each byte, is no reply");

    dial(&p, NULL);
    channel_request(p.c, "l", "k", "1");
    channel_request(p.c, "ping", "_", "");
    ok(heard(&p, "l\nk\n1\nping\n_\n\n"), "two requests");
    say(&p, answer, sizeof(answer) - 1);
    (void)close(p.fd);
    p.fd = -1;
    while (turn(p.c))
        ;
    is_int(next_status(&p, &r), 0, "what came before the end can be taken");
    is_str(r.token, TOKEN, "and is whole");
    ok(!channel_reply(p.c, &r), "the other one will not come");
    hang_up(&p);
}

static void test_nonsense(void)
{
    struct dflock_reply r;
    char *flood = malloc(100000);
    struct peer p;

    memset(flood, 'x', 100000);
    dial(&p, NULL);
    channel_request(p.c, "l", "k", "1");
    ok(heard(&p, "l\nk\n1\n"), "a request");
    say(&p, flood, 100000);
    is_int(next_status(&p, &r), DFLOCK_ERR_PROTOCOL, "a reply without an end is refused");
    ok(strstr(channel_failure(p.c)->text, "longer than"), "in words");
    hang_up(&p);

    dial(&p, NULL);
    channel_request(p.c, "stats", "_", "");
    ok(heard(&p, "stats\n_\n\n"), "a request for a document");
    memcpy(flood, "ok {", 4);
    say(&p, flood, 100000);
    say(&p, "\n", 1);
    is_int(next_status(&p, &r), 0, "a document may be as long");
    is_u64(r.len, 100000, "all of it");
    ok(r.text[r.len] == '\0' && r.text[99999] == 'x', "with an end");
    hang_up(&p);
    free(flood);

    dial(&p, NULL);
    say(&p, "ok\n", 3);
    while (turn(p.c))
        ;
    is_int(channel_failure(p.c)->code, DFLOCK_ERR_PROTOCOL, "a reply to nothing is refused");
    hang_up(&p);

    dial(&p, NULL);
    say(&p, "error\n", 6);
    (void)close(p.fd);
    p.fd = -1;
    while (turn(p.c))
        ;
    is_int(channel_failure(p.c)->code, DFLOCK_ERR_CONNECT, "an idle connection that is closed");
    ok(strstr(channel_failure(p.c)->text, "idle"), "in words: %s", channel_failure(p.c)->text);
    hang_up(&p);
}

static void test_secret(void)
{
    const char *said;
    struct dflock_reply r;
    struct peer p;

    dial(&p, "secret");
    channel_request(p.c, "ping", "_", "");
    is_u64(channel_outstanding(p.c), 1, "the secret is the channel's own request");
    ok(heard(&p, "auth\n_\nsecret\n"), "the secret goes first");
    for (int i = 0; i < 3; i++)
        (void)turn(p.c);
    ok(recv(p.fd, &r, 1, MSG_DONTWAIT) < 0, "and nothing else before its answer");
    ok(!channel_is_ready(p.c), "not yet");
    say(&p, "ok\n", 3);
    ok(heard(&p, "ping\n_\n\n"), "then the request");
    say(&p, "ok\n", 3);
    is_int(next_status(&p, &r), 0, "the reply to ping");
    ok(channel_is_ready(p.c) && channel_outstanding(p.c) == 0, "ready");
    hang_up(&p);

    /* The second is a server without a secret, which serves who has been refused. */
    for (int i = 0; i < 2; i++) {
        dial(&p, "secret");
        channel_request(p.c, "l", "k", "1");
        ok(heard(&p, "auth\n_\nsecret\n"), "the secret");
        said = i ? "error\nok " TOKEN " 33\n" : "error_auth\n";
        say(&p, said, strlen(said));
        (void)close(p.fd);
        p.fd = -1;
        while (turn(p.c))
            ;
        is_int(channel_failure(p.c)->code, DFLOCK_ERR_AUTH, "refused with %s",
               i ? "error" : "error_auth");
        ok(!channel_reply(p.c, &r), "nothing is got");
        hang_up(&p);
    }
}

static void test_connecting(void)
{
    struct failure f = {0};
    struct addr name;
    struct addr_list to;
    struct dflock_options *o = dflock_options_new();
    struct channel *c = channel_new(o);
    struct peer p;

    give_up = clock_boottime_ns() + UINT64_C(20000000000);
    if (addr_parse(&name, "127.0.0.1:1", 11, &f) || addr_resolve(&name, &to, &f))
        bail_out("%s", f.text);
    channel_dial(c, &name, &to, clock_boottime_ns());
    while (turn(c))
        ;
    is_int(channel_failure(c)->code, DFLOCK_ERR_CONNECT, "nobody listens");
    ok(strstr(channel_failure(c)->text, "127.0.0.1:1: "), "where is said: %s",
       channel_failure(c)->text);

    /* The second address of a name does when the first one does not. */
    dial(&p, NULL);
    to.at[1] = p.to.at[0];
    to.n = 2;
    channel_dial(c, &name, &to, clock_boottime_ns());
    while (!channel_is_ready(c) && turn(c))
        ;
    ok(channel_is_ready(c), "the second address");

    /* Nobody answers the secret. */
    dflock_options_set_auth_token(o, "secret");
    dflock_options_set_connect_timeout(o, 0.2);
    channel_dial(c, &p.name, &p.to, clock_boottime_ns());
    ok(channel_deadline(c) != UINT64_MAX, "there is a deadline");
    while (turn(c))
        ;
    is_int(channel_failure(c)->code, DFLOCK_ERR_CONNECT, "the deadline of connecting");
    channel_close(c);
    is_int(channel_fd(c), -1, "closed");
    hang_up(&p);
    channel_free(c);
    addr_free(&name);
    dflock_options_free(o);
}

static void test_addresses(void)
{
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        {"localhost:7000", "localhost", "7000"}, {" 10.0.0.1 ", "10.0.0.1", "6388"},
        {"[::1]:7000", "::1", "7000"},           {"[fe80::1%lo]", "fe80::1%lo", "6388"},
        {"unix:/run/x", "/run/x", ""},           {"/run/x", "/run/x", ""},
    };
    static const char *const bad[] = {"", " ", ":1", "h:", "h:0", "h:65536", "h:1x", "::1", "[::1",
                                      "[::1]x", "a b", "unix:x", "h:-1"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct failure f = {0};
        struct addr a;

        if (ok(addr_parse(&a, good[i].text, strlen(good[i].text), &f) == 0, "\"%s\"", good[i].text)) {
            is_str(a.host, good[i].host, "its host");
            is_str(a.port, good[i].port, "its port");
            addr_free(&a);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct failure f = {0};
        struct addr a;

        is_int(addr_parse(&a, bad[i], strlen(bad[i]), &f), DFLOCK_ERR_INVALID, "\"%s\"", bad[i]);
    }
}

int main(void)
{
    test_pieces();
    test_ends();
    test_nonsense();
    test_secret();
    test_connecting();
    test_addresses();
    return done_testing();
}
