/*
 * tests/fuzz/reply.c - what libdflock makes of what a server says: any bytes, at once and in
 * pieces, in answer to any requests. The same replies come of both, and each is one that the
 * request can have.
 *
 * Input: how it is cut, which requests were sent (a byte each, up to one that is 0), then the
 * bytes. The channel is the library's own, with a transport that has no socket.
 */
#include "client/channel.c"
#include "tests/fuzz/fuzz.h"

#include <string.h>

const char fuzz_target[] = "reply";

enum { REQUESTS_MAX = 24 };

static const char *const words[] = {"l",  "r",  "n",  "e",    "w",    "sl",   "sr",
                                    "sn", "se", "sw", "ping", "evict", "stats", "list"};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

/* What the server has said, and how much of it may be read now. */
static struct {
    const uint8_t *bytes;
    size_t at, until, len;
} said;

static ssize_t say_read(struct transport *t, void *buf, size_t n, struct failure *f)
{
    (void)t;
    (void)f;
    if (said.at == said.len)
        return 0;
    if (said.at == said.until)
        return TRANSPORT_AGAIN;
    n = n < said.until - said.at ? n : said.until - said.at;
    memcpy(buf, said.bytes + said.at, n);
    said.at += n;
    return (ssize_t)n;
}

static ssize_t swallow(struct transport *t, const void *buf, size_t n, struct failure *f)
{
    (void)t;
    (void)buf;
    (void)f;
    return (ssize_t)n;
}

static int shaken(struct transport *t, struct failure *f)
{
    (void)t;
    (void)f;
    return 0;
}

static bool has_more(const struct transport *t)
{
    (void)t;
    return said.at < said.until;
}

static void hang_up(struct transport *t)
{
    (void)t;
}

static const struct transport_ops ops = {say_read, swallow, shaken, has_more, hang_up};

struct heard {
    unsigned n;
    int status[REQUESTS_MAX];
    uint64_t seconds[REQUESTS_MAX];
    size_t len[REQUESTS_MAX];
    char token[REQUESTS_MAX][33];
    int end; /* 0: it has not ended */
};

static void check_reply(const char *word, const struct dflock_reply *r)
{
    bool grants = strchr("lwe", word[strlen(word) - 1]) && strcmp(word, "e") != 0 &&
                  strcmp(word, "se") != 0 && strlen(word) <= 2;

    FUZZ_REQUIRE(strlen(r->text) <= r->len && r->text[r->len] == '\0', "text");
    FUZZ_REQUIRE(r->status >= DFLOCK_ERR_PROTOCOL && r->status <= DFLOCK_QUEUED, "status %d",
                 r->status);
    FUZZ_REQUIRE((r->status == 0 && grants) || r->status == DFLOCK_HELD
                     ? strlen(r->token) == WIRE_TOKEN_LEN && r->seconds > 0 &&
                           strspn(r->token, "0123456789abcdef") == WIRE_TOKEN_LEN
                     : r->status < 0 || r->token[0] == '\0',
                 "token \"%s\" of a %s with status %d", r->token, word, r->status);
    FUZZ_REQUIRE((r->status != DFLOCK_HELD && r->status != DFLOCK_QUEUED) ||
                     word[strlen(word) - 1] == 'e',
                 "status %d of a %s", r->status, word);
    fuzz_calls++;
}

static void take_replies(struct channel *c, const uint8_t *asked, struct heard *h)
{
    struct dflock_reply r;

    while (channel_reply(c, &r)) {
        FUZZ_REQUIRE(h->n < REQUESTS_MAX, "a reply without a request");
        check_reply(words[asked[h->n] % WORDS], &r);
        h->status[h->n] = r.status;
        h->seconds[h->n] = r.seconds;
        h->len[h->n] = r.len;
        memcpy(h->token[h->n++], r.token, sizeof(r.token));
    }
}

static void talk(struct fuzz_in in, const uint8_t *asked, unsigned n, bool pieces, uint64_t seed,
                 struct heard *h)
{
    static struct dflock_options *options;
    static struct channel *c;
    static struct addr name;
    struct failure f = {0};

    if (!c) {
        options = dflock_options_new();
        c = channel_new(options);
        FUZZ_REQUIRE(c && addr_parse(&name, "127.0.0.1:1", 11, &f) == 0, "no channel");
    }
    memset(h, 0, sizeof(*h));
    said.bytes = in.at;
    said.len = in.left;
    said.at = said.until = 0;
    c->r.name = &name;
    c->r.t = (struct transport){.ops = &ops, .fd = -1};
    c->state = READY;
    for (unsigned i = 0; i < n; i++)
        FUZZ_REQUIRE(channel_request(c, words[asked[i] % WORDS], "key", "arg") == 0, "request");
    h->end = channel_process(c, 1); /* sends */
    while (h->end == 0) {
        size_t most = said.len - said.until, piece = 1 + fuzz_random(&seed) % 40;

        said.until += pieces && piece < most ? piece : most;
        h->end = channel_process(c, 1);
        take_replies(c, asked, h);
    }
    take_replies(c, asked, h);
    FUZZ_REQUIRE(channel_failure(c)->code == h->end && channel_failure(c)->text[0], "why it ended");
    FUZZ_REQUIRE(channel_outstanding(c) == n - h->n, "%zu outstanding", channel_outstanding(c));
    channel_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct heard whole, parts;
    struct fuzz_in in = {data, size};
    uint64_t seed = fuzz_u8(&in);
    uint8_t asked[REQUESTS_MAX] = {0};
    unsigned n = 0, least;

    while (n < REQUESTS_MAX && in.left && (asked[n] = fuzz_u8(&in)) != 0)
        n++;
    talk(in, asked, n, false, seed, &whole);
    talk(in, asked, n, true, seed, &parts);
    /* When it breaks off may differ, not what was said until then. */
    least = whole.n < parts.n ? whole.n : parts.n;
    for (unsigned i = 0; i < least; i++)
        FUZZ_REQUIRE(whole.status[i] == parts.status[i] && whole.seconds[i] == parts.seconds[i] &&
                         whole.len[i] == parts.len[i] &&
                         strcmp(whole.token[i], parts.token[i]) == 0,
                     "reply %u is another in pieces", i);
    return 0;
}
