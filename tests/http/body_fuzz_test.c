/*
 * tests/http/body_fuzz_test.c - a million and more bodies, made up and mutated, read by body_parse() and
 * by a second reader that is written from RFC 8259 and the specification: the same verdict, the same
 * values. And bodies of the greatest size, in shapes that are hard on readers.
 */
#include "http/body.h"
#include "http/routes.h"
#include "tests/http/seeded.h"
#include "tests/tap.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- the second reader ---- */

/*
 * Right values are whole numbers, strings and null. Whoever has another one is wrong however it goes on,
 * so only flat objects need to be read.
 */
struct reader {
    const unsigned char *at, *end;
};

static int look(const struct reader *r)
{
    return r->at < r->end ? *r->at : -1;
}

static bool take(struct reader *r, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

static void skip_blanks(struct reader *r)
{
    while (look(r) == ' ' || look(r) == '\t' || look(r) == '\n' || look(r) == '\r')
        r->at++;
}

static bool four_digits(struct reader *r, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 4; i++, r->at++) {
        int c = look(r);

        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            *out = *out << 4 | (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    return true;
}

static size_t encode(uint32_t c, unsigned char *out)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xc0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xe0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (c & 0x3f));
    return 4;
}

/* Behind the backslash. */
static bool read_escape(struct reader *r, uint32_t *c)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *which = look(r) > 0 ? strchr(plain, look(r)) : NULL;
    uint32_t low;

    if (which) {
        r->at++;
        *c = (uint32_t)meant[which - plain];
        return true;
    }
    if (!take(r, "u") || !four_digits(r, c))
        return false;
    if (*c >= 0xdc00 && *c <= 0xdfff)
        return false;
    if (*c < 0xd800 || *c > 0xdbff)
        return *c != 0; /* no token has one */
    if (!take(r, "\\u") || !four_digits(r, &low) || low < 0xdc00 || low > 0xdfff)
        return false;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* One character of UTF-8, as the Unicode standard's table of well-formed sequences has it. */
static bool read_utf8(struct reader *r, uint32_t *c)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        unsigned n;
    } forms[] = {
        {0x20, 0x7f, 0, 0, 1},          {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        unsigned n = forms[i].n;

        if (*r->at < forms[i].first || *r->at > forms[i].last)
            continue;
        if ((size_t)(r->end - r->at) < n ||
            (n > 1 && (r->at[1] < forms[i].low || r->at[1] > forms[i].high)))
            return false;
        *c = n == 1 ? r->at[0] : r->at[0] & (0x7fu >> n);
        for (unsigned k = 1; k < n; k++) {
            if ((r->at[k] & 0xc0) != 0x80)
                return false;
            *c = *c << 6 | (r->at[k] & 0x3f);
        }
        r->at += n;
        return true;
    }
    return false;
}

enum { STRING_MAX = 8192 };

static bool read_string(struct reader *r, unsigned char *out, size_t *n)
{
    uint32_t c;

    *n = 0;
    if (!take(r, "\""))
        return false;
    while (!take(r, "\"")) {
        if (r->at == r->end || *n + 4 >= STRING_MAX)
            return false;
        if (take(r, "\\") ? !read_escape(r, &c) : !read_utf8(r, &c))
            return false;
        *n += encode(c, out + *n);
    }
    out[*n] = '\0';
    return true;
}

static bool read_whole(struct reader *r, int64_t least, int64_t most, int64_t *out)
{
    bool minus = take(r, "-");
    __int128 n = 0;

    if (look(r) < '0' || look(r) > '9')
        return false;
    if (take(r, "0")) {
        if (look(r) >= '0' && look(r) <= '9')
            return false;
    } else {
        for (; look(r) >= '0' && look(r) <= '9'; r->at++)
            n = n < INT64_MAX ? n * 10 + look(r) - '0' : n;
    }
    if (look(r) == '.' || look(r) == 'e' || look(r) == 'E')
        return false;
    n = minus ? -n : n;
    *out = n >= least && n <= most ? (int64_t)n : 0;
    return n >= least && n <= most;
}

static bool read_value(struct reader *r, unsigned field, struct body *b)
{
    static unsigned char text[STRING_MAX];
    size_t n;

    if (take(r, "null"))
        return true;
    switch (field) {
    case FIELD_ACQUIRE_TIMEOUT:
        return read_whole(r, 0, BODY_SECONDS_MAX, &b->acquire_timeout_s);
    case FIELD_TIMEOUT:
        return read_whole(r, 0, BODY_SECONDS_MAX, &b->timeout_s);
    case FIELD_LEASE:
        return read_whole(r, 0, BODY_SECONDS_MAX, &b->lease_ttl_s);
    case FIELD_LIMIT:
        return read_whole(r, 1, BODY_LIMIT_MAX, &b->limit);
    default:
        if (!read_string(r, text, &n) || n < 1 || n > BODY_TOKEN_MAX)
            return false;
        for (size_t i = 0; i < n; i++)
            if (text[i] && strchr(" \t\n\v\f\r", text[i]))
                return false;
        memcpy(b->token, text, n);
        b->token_len = n;
        return true;
    }
}

static unsigned field_of(const unsigned char *name, size_t n)
{
    static const char *const names[] = {"acquire_timeout_s", "timeout_s", "lease_ttl_s", "limit",
                                        "token"};

    for (unsigned i = 0; i < 5; i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return 1u << i;
    return 0;
}

static bool second_reader(const char *bytes, size_t size, unsigned fields, struct body *b)
{
    struct reader r = {(const unsigned char *)bytes, (const unsigned char *)bytes + size};
    static unsigned char name[STRING_MAX];
    unsigned seen = 0, field;
    bool first = true;
    size_t n;

    memset(b, 0, sizeof(*b));
    skip_blanks(&r);
    if (!take(&r, "{"))
        return false;
    for (skip_blanks(&r); !take(&r, "}"); first = false, skip_blanks(&r)) {
        if (!first && !take(&r, ","))
            return false;
        skip_blanks(&r);
        if (!read_string(&r, name, &n))
            return false;
        field = field_of(name, n);
        if (!(field & fields) || seen & field)
            return false;
        seen |= field;
        skip_blanks(&r);
        if (!take(&r, ":"))
            return false;
        skip_blanks(&r);
        if (!read_value(&r, field, b))
            return false;
    }
    skip_blanks(&r);
    return r.at == r.end && (!(fields & FIELD_TOKEN) || b->token_len > 0) &&
           (!(fields & FIELD_LIMIT) || b->limit > 0);
}

/* ---- bodies ---- */

struct made {
    char text[8192];
    size_t n;
};

static void add_bytes(struct made *m, const char *bytes, size_t n)
{
    if (m->n + n <= sizeof(m->text)) {
        memcpy(m->text + m->n, bytes, n);
        m->n += n;
    }
}

__attribute__((format(printf, 2, 3))) static void add(struct made *m, const char *format, ...)
{
    char text[64];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_bytes(m, text, strlen(text));
}

static bool one_in(struct seeded *s, size_t n)
{
    return seeded_below(s, n) == 0;
}

static void add_blanks(struct seeded *s, struct made *m)
{
    static const char blank[] = " \t\n\r\v\f\xa0";

    while (one_in(s, 6)) /* the last three are none in JSON */
        add_bytes(m, &blank[seeded_below(s, one_in(s, 50) ? 7 : 4)], 1);
}

/* In quotes; some characters as escapes. */
static void add_string(struct seeded *s, struct made *m, const char *text, size_t n)
{
    add(m, "\"");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x80 && one_in(s, 30))
            add(m, one_in(s, 2) ? "\\u%04x" : "\\u%04X", (unsigned)text[i]);
        else
            add_bytes(m, text + i, 1);
    add(m, "\"");
}

static void add_token(struct seeded *s, struct made *m)
{
    static const char *const pieces[] = {
        "a", "0", "f", "~", "\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\\n", "\\\"", "\\/",
        "\\ud83d\\ude00", "\\u00e9", "\\u0001", /* right, but for the line feed; and wrong ones: */
        "\\ud83d", "\\ude00", "\\u0000", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\x80",
        "\x01", " ", "\t", "\\x", "\\u12", "\\u 123", "\"", "\xe2\x82", "\\"};
    static const size_t lengths[] = {0, 1, 2, 32, 255, 256, 257, 300};
    size_t n = one_in(s, 3) ? lengths[seeded_below(s, 8)] : 1 + seeded_below(s, 40);
    bool odd = one_in(s, 3);

    add(m, "\"");
    for (size_t i = 0; i < n; i++) {
        const char *piece = pieces[seeded_below(s, odd && one_in(s, 10) ? 31 : odd ? 14 : 4)];

        add_bytes(m, piece, strlen(piece));
    }
    add(m, "\"");
}

static void add_number(struct seeded *s, struct made *m)
{
    static const char *const odd[] = {
        "-0", "-1", "00", "01", "1.0", "10.0", "1e1", "1E+2", "1.", ".5", "-", "+1", "0x10", "1e999",
        "9223372036", "9223372037", "9223372035", "9223372036854775807", "9223372036854775808",
        "-9223372036854775809", "18446744073709551616", "1048576", "1048577", "1 2", "\"10\"", "NaN",
        "Infinity", "99999999999999999999999999999999999999999999999999", "0", "1e-1", "1_0", "\xd9\xa1"};

    if (one_in(s, 3))
        add(m, "%s", odd[seeded_below(s, sizeof(odd) / sizeof(odd[0]))]);
    else
        add(m, "%zu", seeded_below(s, one_in(s, 2) ? 100 : 10000000));
}

static void add_value(struct seeded *s, struct made *m, bool token)
{
    static const char *const odd[] = {"true", "false", "nul", "NULL", "nullx", "[]", "[1]", "{}",
                                      "{\"a\":1}", "", "'x'", "\"", "[[[", "//", "\xef\xbb\xbf"};

    if (one_in(s, 8))
        add(m, "null");
    else if (one_in(s, 25))
        add(m, "%s", odd[seeded_below(s, sizeof(odd) / sizeof(odd[0]))]);
    else if (token != one_in(s, 50))
        add_token(s, m);
    else
        add_number(s, m);
}

static void make(struct seeded *s, struct made *m, unsigned fields)
{
    static const char *const names[] = {"acquire_timeout_s", "timeout_s", "lease_ttl_s", "limit", "token",
                                        "Token", "", "token ", "limits", "\xc3\xa9"};
    unsigned first = (unsigned)seeded_below(s, 5), n = 0;

    m->n = 0;
    add_blanks(s, m);
    add(m, one_in(s, 200) ? "[" : "{");
    for (unsigned i = 0; i < 5 || one_in(s, 20); i++) {
        unsigned which = one_in(s, 60) ? (unsigned)seeded_below(s, 10) : (first + i) % 5;

        /* Mostly those that are known here, mostly all of them. */
        if ((!(which < 5 && fields & 1u << which) && !one_in(s, 60)) || one_in(s, 8))
            continue;
        if (n++ ? !one_in(s, 200) : one_in(s, 200))
            add(m, ",");
        add_blanks(s, m);
        add_string(s, m, names[which], strlen(names[which]));
        add_blanks(s, m);
        add(m, one_in(s, 200) ? "=" : ":");
        add_blanks(s, m);
        add_value(s, m, which == 4);
        add_blanks(s, m);
    }
    add(m, one_in(s, 200) ? "" : "}");
    add_blanks(s, m);
    if (one_in(s, 100))
        add_bytes(m, &"{}\0x,;"[seeded_below(s, 6)], 1);
}

/* Bytes that are another, gone, twice, or swapped. */
static void mutate(struct seeded *s, struct made *m)
{
    for (size_t i = seeded_below(s, 3) + 1; i > 0 && m->n > 1; i--) {
        size_t at = seeded_below(s, m->n), from = seeded_below(s, m->n);

        switch (seeded_below(s, 4)) {
        case 0:
            m->text[at] = (char)seeded_below(s, 256);
            break;
        case 1:
            memmove(m->text + at, m->text + at + 1, m->n - at - 1);
            m->n--;
            break;
        case 2:
            m->text[at] = m->text[from];
            break;
        default:
            if (m->n < sizeof(m->text)) {
                memmove(m->text + at + 1, m->text + at, m->n - at);
                m->n++;
            }
        }
    }
}

static bool same(const struct body *a, const struct body *b)
{
    return a->acquire_timeout_s == b->acquire_timeout_s && a->timeout_s == b->timeout_s &&
           a->lease_ttl_s == b->lease_ttl_s && a->limit == b->limit && a->token_len == b->token_len &&
           memcmp(a->token, b->token, a->token_len + 1) == 0;
}

/* A reason that can be an answer: UTF-8, not cut by its room. */
static bool is_text(const char *why)
{
    json_t *string = json_string(why);
    size_t n = strlen(why);

    json_decref(string);
    return string && n > 0 && n < BODY_WHY - 1;
}

/* What any two readers must agree on; false is shown. */
static bool agree(struct seeded *s, const struct made *m, unsigned fields, bool *good)
{
    const char *edge = seeded_at_edge(s, m->text, m->n);
    char why[BODY_WHY] = "";
    struct body got, want;
    bool should = second_reader(m->text, m->n, fields, &want);

    *good = body_parse(edge, m->n, fields, &got, why);
    return *good == should && (*good ? same(&got, &want) : is_text(why));
}

static void random_bodies(struct seeded *s)
{
    /* of each route */
    static const unsigned fields[] = {FIELD_ACQUIRE_TIMEOUT | FIELD_LEASE,
                                      FIELD_ACQUIRE_TIMEOUT | FIELD_LIMIT | FIELD_LEASE,
                                      FIELD_TOKEN,
                                      FIELD_TOKEN | FIELD_LEASE,
                                      FIELD_LEASE,
                                      FIELD_LIMIT | FIELD_LEASE,
                                      FIELD_TIMEOUT};
    unsigned bad = 0, good = 0, runs = seeded_runs(1200000);
    static struct made m;

    for (unsigned run = 0; run < runs; run++) {
        unsigned may = fields[seeded_below(s, sizeof(fields) / sizeof(fields[0]))];
        bool is_good;

        make(s, &m, may);
        if (one_in(s, 3))
            mutate(s, &m);
        if (!agree(s, &m, may, &is_good) && bad++ < 5)
            diag("run %u, fields %#x: %.*s", run, may, (int)m.n, m.text);
        good += is_good;
    }
    is_u64(bad, 0, "%u bodies are read as by a second reader", runs);
    ok(good > runs / 10 && good < runs / 10 * 9, "%u of them are right", good);
}

/* Each byte of right ones is each other byte. */
static void each_byte(struct seeded *s)
{
    static const struct {
        const char *text;
        unsigned fields;
    } right[] = {
        {"{\"token\":\"a\\u00e9\\n\xc3\xa9\",\"lease_ttl_s\":null}", FIELD_TOKEN | FIELD_LEASE},
        {" {\"token\":\"\\ud83d\\ude00\xf0\x9f\x98\x80\"} ", FIELD_TOKEN},
        {"{\"limit\":1048576,\"acquire_timeout_s\":9223372036}", FIELD_LIMIT | FIELD_ACQUIRE_TIMEOUT},
        {"{\n\"timeout_s\"\r:\t-0 }", FIELD_TIMEOUT},
    };
    unsigned bad = 0, n = 0;
    static struct made m;

    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        for (size_t at = 0; at < strlen(right[i].text); at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                bool good;

                m.n = 0;
                add_bytes(&m, right[i].text, strlen(right[i].text));
                m.text[at] = (char)byte;
                if (!agree(s, &m, right[i].fields, &good) && bad++ < 5)
                    diag("%.*s", (int)m.n, m.text);
                n++;
            }
    is_u64(bad, 0, "%u bodies with one byte changed", n);
}

/* ---- the greatest ---- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t repeat(char *text, const char *head, const char *piece, const char *tail)
{
    size_t n = strlen(head), len = strlen(piece);

    memcpy(text, head, n);
    while (n + len + strlen(tail) <= BODY_MAX) {
        memcpy(text + n, piece, len);
        n += len;
    }
    memcpy(text + n, tail, strlen(tail));
    return n + strlen(tail);
}

static size_t many_names(char *text)
{
    size_t n = 1;

    text[0] = '{';
    for (unsigned i = 0; n + 32 < BODY_MAX; i++)
        n += (size_t)sprintf(text + n, "\"%x\":0,", i);
    text[n - 1] = '}';
    return n;
}

static void greatest(void)
{
    static const char *const shapes[][3] = {
        {"", "[", ""},
        {"", "{\"a\":", ""},
        {"{\"token\":", "[", ""},
        {"{\"token\":", "[],", "1}"},
        {"{\"token\":\"", "a", "\"}"},
        {"{\"token\":\"", "\\u0061", "\"}"},
        {"{\"token\":\"", "\xf0\x9f\x98\x80", "\"}"},
        {"{\"token\":\"", "\\", ""},
        {"{\"token\":\"", "\xc3", ""},
        {"{\"lease_ttl_s\":", "9", "}"},
        {"{\"lease_ttl_s\":-", "0", "}"},
        {"{\"lease_ttl_s\":1.", "9", "}"},
        {"{\"lease_ttl_s\":1e", "9", "}"},
        {"{\"lease_ttl_s\":[", "1e5,", "1]}"},
        {"{\"lease_ttl_s\":0", " ", ",}"},
        {"{", "\"token\":0,", "\"x\":0}"},
        {"", "{}", ""},
        {"", "\"", ""},
        {"", " ", ""},
        {"", "/", ""},
        {"", "t", ""},
    };
    size_t n_shapes = sizeof(shapes) / sizeof(shapes[0]);

    for (size_t i = 0; i <= n_shapes; i++) {
        char *room = malloc(BODY_MAX), *exact;
        char why[BODY_WHY] = "";
        struct body b;
        double began;
        size_t n;
        bool good;

        if (!room)
            bail_out("no memory");
        n = i < n_shapes ? repeat(room, shapes[i][0], shapes[i][1], shapes[i][2]) : many_names(room);
        exact = realloc(room, n); /* for sanitizers */
        began = seconds();
        good = body_parse(exact, n, FIELD_TOKEN | FIELD_LEASE, &b, why);
        /* Some milliseconds; if its square mattered it would be hours. */
        ok(!good && is_text(why) && seconds() - began < 20, "%zu bytes, shape %zu", n, i);
        free(exact);
    }
}

int main(void)
{
    struct seeded s = seeded_begin();

    each_byte(&s);
    random_bodies(&s);
    greatest();
    return done_testing();
}
