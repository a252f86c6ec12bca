/*
 * ctl/check.c - dflockctl check: one line for a monitoring system, "DFLOCK OK - … | perfdata", and
 * an exit status from 0 to 3, as the Monitoring Plugins Development Guidelines have it. See ctl.h.
 *
 * Each threshold is held against each server by itself; the worst counts.
 */
#include "ctl/check.h"

#include "ctl/ctl.h"
#include "ctl/data.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum state { STATE_OK, STATE_WARNING, STATE_CRITICAL, STATE_UNKNOWN };

static const char *const state_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

/* What is measured at a server, and what it may be: < 0, no threshold. */
enum { M_WAITERS, M_OLDEST, M_FILL, M_CONNECTIONS, METRICS };

static const struct metric {
    const char *label, *unit; /* of perfdata */
    const char *most;         /* of perfdata */
    int warn, crit;           /* options */
    const char *format;       /* of the value, in words */
} metrics[METRICS] = {
    [M_WAITERS] = {"waiters", "", "", OPT_WAITERS_WARN, OPT_WAITERS_CRIT, "%.0f waiting"},
    [M_OLDEST] = {"oldest_wait", "s", "", OPT_OLDEST_WAIT_WARN, OPT_OLDEST_WAIT_CRIT,
                  "oldest wait %.3fs"},
    [M_FILL] = {"table_fill", "%", "100", OPT_TABLE_FILL_WARN, OPT_TABLE_FILL_CRIT,
                "table %.1f%% full"},
    [M_CONNECTIONS] = {"connections", "", "", OPT_CONNECTIONS_WARN, OPT_CONNECTIONS_CRIT,
                       "%.0f connections"},
};

struct measured {
    double value[METRICS];
    uint64_t keys;
};

struct check {
    const struct ctl *c;
    double warn[METRICS], crit[METRICS];
    uint64_t max_locks; /* 0: not known */
    struct measured *of;
};

int check_unknown(const char *why)
{
    printf("DFLOCK UNKNOWN - ");
    for (; *why != '\0'; why++)
        putchar(*why == '|' ? '/' : *why); /* a bar begins perfdata */
    putchar('\n');
    return STATE_UNKNOWN;
}

static void read_thresholds(struct check *k)
{
    for (int i = 0; i < METRICS; i++) {
        k->warn[i] = ctl_decimal(k->c, metrics[i].warn, -1);
        k->crit[i] = ctl_decimal(k->c, metrics[i].crit, -1);
        if (k->crit[i] >= 0 && k->warn[i] > k->crit[i])
            ctl_refuse(k->c, EX_USAGE,
                       "%s: WARNING above %.10g would begin after CRITICAL above %.10g",
                       metrics[i].label, k->warn[i], k->crit[i]);
    }
    k->max_locks = ctl_number(k->c, OPT_MAX_LOCKS, 1, 0);
    if (k->max_locks == 0 && (k->warn[M_FILL] >= 0 || k->crit[M_FILL] >= 0))
        ctl_refuse(k->c, EX_USAGE,
                   "--table-fill-warn and --table-fill-crit need --max-locks: a server "
                   "does not tell how many keys it has room for");
}

static enum ask_next read_stats(struct check *k, struct ask *a, const struct dflock_reply *reply)
{
    struct measured *m = &k->of[a - k->c->all.at];
    struct stats s;

    if (data_stats(&s, reply) != 0)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its stats are not understood", a->server);
    m->keys = s.locks + s.semaphores + s.idle;
    m->value[M_WAITERS] = (double)s.waiters;
    m->value[M_CONNECTIONS] = (double)s.connections;
    m->value[M_FILL] = k->max_locks > 0 ? 100.0 * (double)m->keys / (double)k->max_locks : 0;
    m->value[M_OLDEST] = 0;
    return s.waiters > 0 ? ask_submit(a, "list", "*", "") : ASK_DONE;
}

static enum ask_next read_page(struct check *k, struct ask *a, const struct dflock_reply *reply)
{
    double *oldest = &k->of[a - k->c->all.at].value[M_OLDEST];
    char cursor[DATA_CURSOR_MAX];
    struct rows rows = {0};

    if (data_page(&rows, a->server, reply, cursor) != 0)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its list is not understood", a->server);
    for (size_t i = 0; i < rows.n; i++)
        if (rows.at[i].oldest > *oldest)
            *oldest = rows.at[i].oldest;
    data_free_rows(&rows);
    return cursor[0] != '\0' ? ask_submit(a, "list", "*", cursor) : ASK_DONE;
}

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct check *k = arg;
    struct measured *m = &k->of[a - k->c->all.at];

    if (reply == NULL) {
        m->value[M_OLDEST] = -1; /* stats are next */
        return ask_submit(a, "stats", "", "");
    }
    if (reply->status != 0)
        return ask_fail(a, DFLOCK_ERR_SERVER, "%s: the server refuses to say", a->server);
    return m->value[M_OLDEST] < 0 ? read_stats(k, a, reply) : read_page(k, a, reply);
}

static enum state judge(const struct check *k, int metric, double value)
{
    if (k->crit[metric] >= 0 && value > k->crit[metric])
        return STATE_CRITICAL;
    if (k->warn[metric] >= 0 && value > k->warn[metric])
        return STATE_WARNING;
    return STATE_OK;
}

/* CRITICAL is worse than WARNING, and that than UNKNOWN. */
static enum state worse(enum state a, enum state b)
{
    static const int rank[] = {
        [STATE_OK] = 0, [STATE_UNKNOWN] = 1, [STATE_WARNING] = 2, [STATE_CRITICAL] = 3};

    return rank[a] > rank[b] ? a : b;
}

/* Text that must not have what separates the parts of the line. */
static void put_plain(FILE *out, const char *text, const char *without)
{
    char *clean = text_clean(text, strlen(text));

    for (const char *p = clean; *p != '\0'; p++)
        fputc(strchr(without, *p) != NULL ? '_' : *p, out);
    free(clean);
}

static void say_failure(FILE *out, const struct ask *a, enum state *state)
{
    *state = worse(*state, a->error == DFLOCK_ERR_AUTH ? STATE_UNKNOWN : STATE_CRITICAL);
    fputs("; ", out);
    put_plain(out, a->why, "|\n");
}

/* What is over its threshold. */
static void say_excess(FILE *out, const struct check *k, size_t server, enum state *state)
{
    for (int i = 0; i < METRICS; i++) {
        double value = k->of[server].value[i];
        enum state s = judge(k, i, value);

        if (s == STATE_OK)
            continue;
        *state = worse(*state, s);
        fputs("; ", out);
        put_plain(out, k->c->all.at[server].server, "|\n");
        fputs(": ", out);
        fprintf(out, metrics[i].format, value);
        fprintf(out, " (over %.10g)", s == STATE_CRITICAL ? k->crit[i] : k->warn[i]);
    }
}

static void put_threshold(double value)
{
    putchar(';');
    if (value >= 0)
        printf("%.10g", value);
}

static void put_perfdata(const struct check *k, size_t server)
{
    const struct measured *m = &k->of[server];

    for (int i = 0; i < METRICS; i++) {
        if (i == M_FILL && k->max_locks == 0)
            continue;
        putchar(' ');
        if (k->c->all.n > 1) {
            putchar('\'');
            put_plain(stdout, k->c->all.at[server].server, "|='\n");
            printf(" %s'", metrics[i].label);
        } else {
            fputs(metrics[i].label, stdout);
        }
        printf("=%.10g%s", m->value[i], metrics[i].unit);
        put_threshold(k->warn[i]);
        put_threshold(k->crit[i]);
        printf(";0%s%s", metrics[i].most[0] != '\0' ? ";" : "", metrics[i].most);
    }
}

int check_run(struct ctl *c)
{
    struct check k = {.c = c};
    enum state state = STATE_OK;
    struct measured sum = {0};
    char *excess = NULL;
    size_t n, answered = 0;
    FILE *out;

    read_thresholds(&k);
    k.of = text_memory(calloc(c->all.n, sizeof(*k.of)));
    out = text_memory(open_memstream(&excess, &n));
    asks_run(&c->all, step, &k);
    for (size_t i = 0; i < c->all.n; i++) {
        if (c->all.at[i].error != 0) {
            say_failure(out, &c->all.at[i], &state);
            continue;
        }
        answered++;
        say_excess(out, &k, i, &state);
        sum.keys += k.of[i].keys;
        for (int j = 0; j < METRICS; j++)
            sum.value[j] += k.of[i].value[j];
    }
    if (fclose(out) != 0)
        text_memory(NULL);
    printf("DFLOCK %s - %zu of %zu servers answered, %.0f connections, %" PRIu64
           " keys, %.0f waiting%s",
           state_names[state], answered, c->all.n, sum.value[M_CONNECTIONS], sum.keys,
           sum.value[M_WAITERS], excess);
    if (answered > 0)
        fputs(" |", stdout);
    for (size_t i = 0; i < c->all.n; i++)
        if (c->all.at[i].error == 0)
            put_perfdata(&k, i);
    putchar('\n');
    free(excess);
    free(k.of);
    return (int)state;
}
