/*
 * tests/http/guard_test.c - caps and rates of addresses: against a simple model, and by very many
 * addresses, which must not take more memory than a few.
 */
#include "http/guard.h"

#include "base/clock.h"
#include "http/call.h"
#include "http/http.h"
#include "http/link.h"
#include "tests/http/seeded.h"
#include "tests/tap.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>

static struct settings settings;
static struct worker_slot slot;
static struct http http = {.settings = &settings};
static struct guard *all[64]; /* those of before: what would be left of them is no leak */
static unsigned n_all;

static void begin(int64_t rate, int64_t burst, int64_t connections, int64_t sessions)
{
    settings.http_rate_limit_per_ip = rate;
    settings.http_rate_limit_burst = burst;
    settings.http_max_connections_per_ip = connections;
    settings.http_max_sessions_per_ip = sessions;
    http.sh.slot = &slot;
    http.now = NS_PER_SEC;
    if (guard_init(&http) != 0)
        bail_out("no memory");
    if (n_all < sizeof(all) / sizeof(all[0]))
        all[n_all++] = http.guard;
}

static struct address v4(uint32_t number)
{
    struct address a = {.family = AF_INET, .port = (uint16_t)number};

    number = htonl(number);
    memcpy(a.addr, &number, sizeof(number));
    return a;
}

static struct address v6(const char *text)
{
    struct address a = {.family = AF_INET6};

    if (inet_pton(AF_INET6, text, a.addr) != 1)
        bail_out("%s", text);
    return a;
}

/* Whether a request of that address is served now. One that is not frees its call. */
static bool served(const struct address *from)
{
    struct link link = {.h = &http, .from = *from};
    struct call *c = calloc(1, sizeof(*c));
    bool may;

    if (!c)
        bail_out("no memory");
    c->h = &http;
    c->link = &link;
    may = guard_rate(c);
    if (may)
        free(c);
    return may;
}

static size_t used(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

/* ---- what is said in rules.md ---- */

static void rates(void)
{
    struct address a = v4(1), b = v4(2), local = {.family = AF_UNIX};
    unsigned n = 0;

    begin(10, 3, 0, 0);
    guard_connect(&http, &a);
    guard_connect(&http, &b);
    while (n < 10 && served(&a))
        n++;
    is_u64(n, 3, "a burst");
    http.now += NS_PER_SEC / 10 - 1;
    ok(!served(&a), "nothing before a tenth of a second has passed");
    http.now += 1;
    ok(served(&a) && !served(&a), "then one");
    ok(served(&b), "another address");
    guard_disconnect(&http, &a);
    guard_connect(&http, &a);
    ok(!served(&a), "who comes again is known");
    guard_disconnect(&http, &a);
    guard_tick(&http);
    guard_connect(&http, &a);
    ok(!served(&a), "after a while, too");
    guard_disconnect(&http, &a);
    http.now += NS_PER_SEC;
    guard_tick(&http);
    guard_connect(&http, &a);
    for (n = 0; n < 10 && served(&a);)
        n++;
    is_u64(n, 3, "a pause fills it up, and not more");
    for (n = 0; n < 1000 && served(&local);)
        n++;
    is_u64(n, 1000, "a Unix socket has no rate");
    settings.http_rate_limit_per_ip = 0;
    ok(served(&a), "nor has anybody when it is switched off");
}

static void caps(void)
{
    struct address a = v4(1), b = v4(2), other_port = a, local = {.family = AF_UNIX};
    struct address first = v6("2001:db8::1"), second = v6("2001:db8::2"), mapped = {.family = AF_INET};

    begin(0, 0, 2, 1);
    other_port.port++;
    ok(guard_connect(&http, &a) && guard_connect(&http, &other_port), "two connections");
    ok(!guard_connect(&http, &a) && !guard_connect(&http, &a), "a third is one too many");
    ok(guard_connect(&http, &b), "another address");
    ok(guard_session(&http, &a) && !guard_session(&http, &a), "one session");
    guard_disconnect(&http, &a);
    ok(guard_connect(&http, &a) && !guard_connect(&http, &a), "one has left, one has come");
    guard_session_over(&http, &a);
    ok(guard_session(&http, &a) && !guard_session(&http, &a), "sessions likewise");
    guard_session_kept(&http, &b);
    guard_session_kept(&http, &b);
    guard_session_over(&http, &b);
    ok(!guard_session(&http, &b), "those that were there count, whatever the cap");
    guard_session_over(&http, &b);
    ok(guard_session(&http, &b), "until the last has ended");
    ok(guard_session(&http, &first) && guard_session(&http, &second), "IPv6: whole addresses");
    ok(!guard_session(&http, &first), "each of which has its cap");
    memcpy(mapped.addr, first.addr, sizeof(mapped.addr));
    ok(guard_session(&http, &mapped), "the families are apart");
    for (unsigned i = 0; i < 5; i++)
        ok(guard_connect(&http, &local) && guard_session(&http, &local), "a Unix socket has no caps");
    settings.http_max_connections_per_ip = 0;
    ok(guard_connect(&http, &a), "none when it is switched off");
}

/* ---- any order of events against a model ---- */

enum { ADDRESSES = 40 };

struct model {
    uint32_t connections, sessions;
    uint64_t level, when; /* ns of requests that it may still ask, at that time */
};

static void any_order(struct seeded *s)
{
    struct model model[ADDRESSES] = {0};
    unsigned bad = 0, runs = seeded_runs(1000000), yes = 0, no = 0;

    for (unsigned run = 0; run < runs; run++) {
        struct address from = v4((uint32_t)seeded_below(s, ADDRESSES));
        struct model *m = &model[ntohl(*(uint32_t *)(void *)from.addr)];
        uint64_t token, most;
        bool got, want;

        if (run % (runs / 32 + 1) == 0) { /* other settings, as at a start */
            begin((int64_t)seeded_below(s, 2000) + 1, (int64_t)seeded_below(s, 30) + 1,
                  (int64_t)seeded_below(s, 4), (int64_t)seeded_below(s, 4));
            memset(model, 0, sizeof(model));
        }
        token = NS_PER_SEC / (uint64_t)settings.http_rate_limit_per_ip;
        most = token * (uint64_t)settings.http_rate_limit_burst;
        http.now += seeded_below(s, 3) ? 0 : seeded_below(s, token / 60);
        got = want = true;
        switch (seeded_below(s, 8)) {
        case 0:
            got = guard_connect(&http, &from);
            want = !settings.http_max_connections_per_ip ||
                   m->connections < settings.http_max_connections_per_ip;
            m->connections += want;
            break;
        case 1:
            if (m->connections) {
                guard_disconnect(&http, &from);
                m->connections--;
            }
            break;
        case 2:
            got = guard_session(&http, &from);
            want = !settings.http_max_sessions_per_ip ||
                   m->sessions < settings.http_max_sessions_per_ip;
            m->sessions += want;
            break;
        case 3:
            if (m->sessions) {
                guard_session_over(&http, &from);
                m->sessions--;
            }
            break;
        case 4:
            guard_tick(&http);
            break;
        default:
            if (!m->connections)
                break;
            m->level = m->when && m->level + (http.now - m->when) < most
                           ? m->level + (http.now - m->when)
                           : most;
            m->when = http.now;
            want = m->level >= token;
            m->level -= want ? token : 0;
            got = served(&from);
            yes += got;
            no += !got;
        }
        bad += got != want;
    }
    is_u64(bad, 0, "%u events are answered as a model says", runs);
    ok(yes > runs / 100 && no > runs / 100, "%u requests served, %u refused", yes, no);
}

/* ---- very many addresses ---- */

/* Each comes, asks once, and leaves: its bucket is not full. */
static void visit(uint32_t from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct address a = v4(from + i);

        http.now += 1000;
        guard_connect(&http, &a);
        served(&a);
        guard_disconnect(&http, &a);
    }
}

static void floods(void)
{
    enum { SOME = 200000, MANY = 1000000 };
    struct address kept = v4(UINT32_MAX);
    size_t before, some, many, after;
    unsigned n = 0;

    begin(1, 1000, 0, 3);
    visit(UINT32_MAX, 1);
    guard_session(&http, &kept); /* comes again, and stays */
    before = used();
    visit(0, SOME);
    some = used();
    visit(SOME, MANY);
    many = used();
    diag("%d addresses: %zu bytes; %d more: %zu", SOME, some - before, MANY, many - before);
    ok(many - before <= (some - before) * 11 / 10, "a flood of addresses takes no more memory");
    ok(many - before < (size_t)16 << 20, "less than 16 MiB");
    guard_session(&http, &kept);
    guard_session(&http, &kept);
    ok(!guard_session(&http, &kept), "who has something is not forgotten for it");
    http.now += 3600 * NS_PER_SEC;
    do
        guard_tick(&http);
    while (++n < 1000);
    after = used();
    diag("when all buckets are full again: %zd bytes", (ssize_t)(after - before));
    ok(after < before + ((size_t)1 << 20), "nobody is remembered for nothing");
    ok(!guard_session(&http, &kept), "who has something still is not forgotten");
}

int main(void)
{
    struct seeded s = seeded_begin();

    rates();
    caps();
    any_order(&s);
    floods();
    return done_testing();
}
