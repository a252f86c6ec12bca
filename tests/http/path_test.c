/*
 * tests/http/path_test.c - paths and queries: known ones, and random ones against a second, slow
 * decoder.
 */
#include "http/path.h"
#include "tests/http/seeded.h"
#include "tests/tap.h"

#include <stdio.h>

static struct path path;

/* "seg|seg|bad:" … of a target. */
static const char *shape(const char *target)
{
    static char text[512];
    size_t n = 0;

    if (!path_parse(&path, target))
        return "none";
    for (unsigned i = 0; i < path.n && i < PATH_SEGMENTS; i++) {
        text[n++] = '|';
        if (path.seg[i].bad)
            text[n++] = '!';
        memcpy(text + n, path.seg[i].at, path.seg[i].len);
        n += path.seg[i].len;
    }
    n += (size_t)snprintf(text + n, sizeof(text) - n, "%s?%s",
                          path.n > PATH_SEGMENTS ? "|…" : "", path.query);
    return text;
}

static void known(void)
{
    static const struct {
        const char *target, *shape;
    } cases[] = {
        {"/", "?"},
        {"/?", "?"},
        {"/a", "|a?"},
        {"/a/", "|a|?"},
        {"//", "||?"},
        {"//a", "||a?"},
        {"/a//b", "|a||b?"},
        {"/a%2Fb/c", "|a/b|c?"},
        {"/%41%7a%7A", "|Azz?"},
        {"/a%", "|!?"},
        {"/a%4", "|!?"},
        {"/a%4g/b", "|!|b?"},
        {"/a+b", "|a+b?"},
        {"/a?b=c&d", "|a?b=c&d"},
        {"/a?b?c#d", "|a?b?c#d"},
        {"/a#b?c", "|a?"},
        {"/1/2/3/4/5/6", "|1|2|3|4|5|6?"},
        {"/1/2/3/4/5/6/7", "|1|2|3|4|5|6|…?"},
        {"/1/2/3/4/5/6/7/8/9", "|1|2|3|4|5|6|…?"},
        {"http://host/a", "|a?"},
        {"HTTPS://host:1/a?b", "|a?b"},
        {"http://host", "?"},
        {"http:///a", "none"},
        {"http://", "none"},
        {"ftp://host/a", "none"},
        {"", "none"},
        {"*", "none"},
        {"a", "none"},
        {"?a", "none"},
        {"host:80", "none"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        is_str(shape(cases[i].target), cases[i].shape, "%s", cases[i].target);
}

static void queries(void)
{
    char buf[8];

    path_parse(&path, "/p?a=1&bb=x%20y+z&a=2&c=&d&e=%zz&f=123456789&=g#&h=1");
    is_int(path_query(&path, "a", buf, sizeof(buf)), 1, "the first of its name");
    ok(buf[0] == '1', "and not the second");
    is_int(path_query(&path, "bb", buf, sizeof(buf)), 5, "decoded");
    ok(memcmp(buf, "x y z", 5) == 0, "with blanks");
    is_int(path_query(&path, "b", buf, sizeof(buf)), -1, "not the beginning of a name");
    is_int(path_query(&path, "c", buf, sizeof(buf)), 0, "an empty one");
    is_int(path_query(&path, "d", buf, sizeof(buf)), -1, "one without a value is none");
    is_int(path_query(&path, "e", buf, sizeof(buf)), -2, "a malformed one");
    is_int(path_query(&path, "f", buf, sizeof(buf)), -2, "one that is too long");
    is_int(path_query(&path, "h", buf, sizeof(buf)), -1, "a fragment is no query");
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return !at ? -1 : at - digits > 15 ? (int)(at - digits) - 6 : (int)(at - digits);
}

/* The slow decoder: whether segment i of the target is as the path says. */
static bool same_segment(const char *target, unsigned i)
{
    const char *at = target, *end;
    size_t n = 0;
    bool bad = false;

    for (unsigned slashes = 0; slashes <= i; at++)
        slashes += *at == '/';
    end = at + strcspn(at, "/?#");
    for (const char *c = at; c < end; c++, n++)
        if (*c == '%') {
            bad |= end - c < 3 || hex(c[1]) < 0 || hex(c[2]) < 0;
            if (bad)
                break;
            if (!path.seg[i].bad &&
                (unsigned char)path.seg[i].at[n] != hex(c[1]) * 16 + hex(c[2]))
                return false;
            c += 2;
        } else if (!path.seg[i].bad && path.seg[i].at[n] != *c) {
            return false;
        }
    return path.seg[i].bad == bad && (bad || path.seg[i].len == n);
}

static void fuzz(struct seeded *s)
{
    static const char *const pieces[] = {"/",  "/",  "%2f", "%2F", "%00", "%",   "%4", "%zz", "a",
                                         "v1", "+",  "?",   "#",   "&",   "=",   "\xff", "..", "%25",
                                         "locks", "http://", "https://x", " "};
    unsigned bad = 0, runs = seeded_runs(800000);

    for (unsigned run = 0; run < runs; run++) {
        char text[256] = "/", value[16];
        size_t n = seeded_below(s, 20);
        const char *target;

        if (seeded_below(s, 20) == 0)
            text[0] = '\0';
        for (size_t i = 0; i < n; i++)
            strcat(text, pieces[seeded_below(s, sizeof(pieces) / sizeof(pieces[0]))]);
        target = seeded_at_edge(s, text, strlen(text) + 1);
        if (!path_parse(&path, target))
            continue;
        path_query(&path, "a", value, seeded_below(s, sizeof(value)));
        for (unsigned i = 0; target[0] == '/' && i < path.n && i < PATH_SEGMENTS; i++)
            if (!same_segment(target, i) && bad++ < 5)
                diag("%s: segment %u", target, i);
    }
    is_u64(bad, 0, "%u random targets are read as by another reader", runs);
}

static size_t escape(struct seeded *s, const unsigned char *bytes, size_t n, bool all, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        if (all || !bytes[i] || strchr("%/?#", bytes[i]) || seeded_below(s, 4) == 0)
            len += (size_t)sprintf(out + len, seeded_below(s, 2) ? "%%%02x" : "%%%02X", bytes[i]);
        else
            out[len++] = (char)bytes[i];
    out[len] = '\0';
    return len;
}

/* Any key gets there, however much of it is escaped; once is decoded, not twice. */
static void round_trips(struct seeded *s)
{
    unsigned bad = 0, runs = seeded_runs(400000);

    for (unsigned run = 0; run < runs; run++) {
        unsigned char key[256];
        char once[4 * sizeof(key)] = "/k/", twice[12 * sizeof(key)] = "/k/";
        size_t n = seeded_below(s, seeded_below(s, 20) ? 12 : sizeof(key)) + 1, len;

        for (size_t i = 0; i < n; i++)
            key[i] = (unsigned char)(seeded_below(s, 3) ? seeded_below(s, 256)
                                                        : (size_t)"%/?#25+\0"[seeded_below(s, 8)]);
        len = escape(s, key, n, seeded_below(s, 2), once + 3);
        strcpy(once + 3 + len, "/end?q");
        bad += !path_parse(&path, seeded_at_edge(s, once, strlen(once) + 1)) || path.n != 3 ||
               path.seg[1].bad || path.seg[1].len != n || memcmp(path.seg[1].at, key, n) != 0 ||
               path.seg[2].len != 3 || strcmp(path.query, "q") != 0;
        once[3 + len] = '\0';
        escape(s, (const unsigned char *)once + 3, len, seeded_below(s, 2), twice + 3);
        bad += !path_parse(&path, seeded_at_edge(s, twice, strlen(twice) + 1)) || path.n != 2 ||
               path.seg[1].bad || path.seg[1].len != len ||
               memcmp(path.seg[1].at, once + 3, len) != 0;
    }
    is_u64(bad, 0, "%u keys, escaped once and twice, are decoded once", runs);
}

static void limits(void)
{
    static char text[PATH_BYTES + 2];

    memset(text, 'a', sizeof(text) - 1);
    text[0] = '/';
    ok(!path_parse(&path, text), "a target that is too long is none");
    text[PATH_BYTES] = '\0';
    ok(path_parse(&path, text) && path.seg[0].len == PATH_BYTES - 1, "the longest one");
}

int main(void)
{
    struct seeded s = seeded_begin();

    known();
    queries();
    limits();
    fuzz(&s);
    round_trips(&s);
    return done_testing();
}
