/*
 * ctl/top.c - dflockctl top: the busiest keys of all servers, again and again. See ctl.h.
 *
 * Only `list` is asked, page by page, and no connection stays open between two rounds: a server
 * that drains would wait for it. What is shown is the last round that was whole; a server that does
 * not answer is named with the reason, and keeps neither the keys nor the others waiting.
 */
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/list.h"
#include "ctl/screen.h"
#include "ctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

typedef int compare_fn(const void *one, const void *two);

struct top {
    struct ctl *c;
    double interval;
    struct list coming;
    struct rows shown;
    bool asked;    /* there has been a round */
    char **failed; /* by server: why it has not answered; NULL: it has */
    compare_fn *order;
};

/* ---- orders: what is first is what somebody should look at ----------------------------------- */

static int more(double a, double b)
{
    return a > b ? -1 : a < b;
}

static int by_waiters(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    int order = more((double)a->waiters, (double)b->waiters);

    order = order != 0 ? order : more(a->oldest, b->oldest);
    order = order != 0 ? order : more((double)a->holders, (double)b->holders);
    return order != 0 ? order : list_by_key(one, two);
}

static int by_oldest(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    int order = more(a->oldest, b->oldest);

    return order != 0 ? order : by_waiters(one, two);
}

static int by_holders(const void *one, const void *two)
{
    const struct row *a = one, *b = two;
    int order = more((double)a->holders, (double)b->holders);

    return order != 0 ? order : by_waiters(one, two);
}

/* ---- a round --------------------------------------------------------------------------------- */

static void sort(struct top *top)
{
    if (top->shown.n > 0)
        qsort(top->shown.at, top->shown.n, sizeof(*top->shown.at), top->order);
}

/* All servers have answered or failed: that is what is shown now. */
static void take_over(struct top *top)
{
    top->asked = true;
    data_free_rows(&top->shown);
    top->shown = top->coming.rows;
    top->coming.rows = (struct rows){0};
    for (size_t i = 0; i < top->c->all.n; i++) {
        const struct ask *a = &top->c->all.at[i];

        free(top->failed[i]);
        top->failed[i] = a->error != 0 ? text_memory(strdup(a->why)) : NULL;
    }
    sort(top);
}

/* ---- what it looks like ---------------------------------------------------------------------- */

struct page {
    char **lines;
    size_t n, rows, columns; /* columns 0: lines may be as long as they are */
    bool drawn;              /* on a terminal */
};

/* Takes `text`; `look`, a sequence of the terminal, is for the whole line. */
static void add_line(struct page *p, char *text, const char *look)
{
    if (p->n == p->rows) {
        free(text);
        return;
    }
    if (p->columns > 0)
        text[text_fit(text, p->columns)] = '\0';
    if (p->drawn && look != NULL) {
        p->lines[p->n++] = text_format("%s%s", look, text);
        free(text);
    } else {
        p->lines[p->n++] = text;
    }
}

static void add_head(struct page *p, const struct top *top)
{
    uint64_t held = 0, waiting = 0;
    double oldest = 0;
    time_t now = (time_t)(clock_realtime_ns() / NS_PER_SEC);
    struct tm local = {0};
    char *since;

    if (!top->asked) {
        add_line(p,
                 text_format("dflockctl top: asking %zu %s", top->c->all.n,
                             top->c->all.n == 1 ? "server" : "servers"),
                 NULL);
        return;
    }
    for (size_t i = 0; i < top->shown.n; i++) {
        const struct row *r = &top->shown.at[i];

        held += r->holders;
        waiting += r->waiters;
        oldest = r->oldest > oldest ? r->oldest : oldest;
    }
    localtime_r(&now, &local);
    since = text_seconds(oldest);
    add_line(p,
             text_format("dflockctl top %02d:%02d:%02d  %zu keys, %" PRIu64 " held, %" PRIu64
                         " waiting, oldest wait %s",
                         local.tm_hour, local.tm_min, local.tm_sec, top->shown.n, held, waiting,
                         since),
             NULL);
    free(since);
    for (size_t i = 0; i < top->c->all.n; i++)
        if (top->failed[i] != NULL)
            add_line(p, text_clean(top->failed[i], strlen(top->failed[i])), "\033[1m");
    if (p->drawn)
        add_line(p,
                 text_format("q quits; first those with most w: waiters, o: oldest wait, "
                             "h: holders; k: by key"),
                 "\033[2m");
}

static void add_rows(struct page *p, const struct top *top)
{
    static const char *const heads[] = {">WAITERS", ">OLDEST WAIT", ">HOLDERS", ">LIMIT",
                                        "KIND",     "KEY",          "SERVER"};
    bool servers = top->c->all.n > 1;
    struct table *t = table_new(heads, servers ? 7 : 6);
    size_t room = p->rows > p->n + 1 ? p->rows - p->n - 1 : 0;
    char *line;

    for (size_t i = 0; i < top->shown.n && i < room; i++) {
        const struct row *r = &top->shown.at[i];
        char *cells[7] = {
            text_format("%" PRIu64, r->waiters),
            r->waiters > 0 ? text_seconds(r->oldest) : text_format("-"),
            text_format("%" PRIu64, r->holders),
            text_format("%" PRIu64, r->limit),
            text_format("%s", r->sem ? "sem" : "lock"),
            text_format("%s", r->key),
            servers ? text_clean(r->server, strlen(r->server)) : NULL,
        };

        table_add(t, cells);
    }
    for (size_t i = 0; (line = table_line(t, i)) != NULL; i++)
        add_line(p, line, i == 0 ? "\033[7m" : NULL);
    table_free(t);
}

static void compose(struct page *p, const struct top *top)
{
    p->lines = text_memory(calloc(p->rows + 1, sizeof(*p->lines)));
    add_head(p, top);
    add_rows(p, top);
}

static void free_page(struct page *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->lines[i]);
    free(p->lines);
}

static int draw(const struct top *top)
{
    struct page p = {.drawn = true};
    int err;

    screen_size(&p.rows, &p.columns);
    compose(&p, top);
    err = screen_draw(p.lines, p.n);
    free_page(&p);
    return err;
}

/* ---- the two ways of it ---------------------------------------------------------------------- */

static int print_once(struct top *top)
{
    struct page p = {.rows = 24};

    asks_run(&top->c->all, list_step, &top->coming);
    take_over(top);
    compose(&p, top);
    for (size_t i = 0; i < p.n; i++)
        puts(p.lines[i]);
    free_page(&p);
    return ctl_failures(top->c);
}

/* False: the end. */
static bool press(struct top *top, int key, uint64_t *next_round)
{
    switch (key) {
    case SCREEN_NOTHING:
    case SCREEN_REDRAW:
        return true;
    case 'q':
    case 'Q':
        return false;
    case 'w':
        top->order = by_waiters;
        break;
    case 'o':
        top->order = by_oldest;
        break;
    case 'h':
        top->order = by_holders;
        break;
    case 'k':
        top->order = list_by_key;
        break;
    default:
        *next_round = 0; /* now */
    }
    sort(top);
    return true;
}

/* Milliseconds to wait: for the servers while they are asked, else for the next round. */
static int patience(const struct top *top, struct pollfd *fds, bool asking, uint64_t next_round)
{
    uint64_t now = clock_boottime_ns();
    int timeout = asks_poll(&top->c->all, fds);

    if (asking)
        return timeout;
    if (next_round <= now)
        return 0;
    return (next_round - now) / NS_PER_MS > 60000 ? 60000
                                                  : (int)((next_round - now) / NS_PER_MS) + 1;
}

static int watch(struct top *top)
{
    struct asks *all = &top->c->all;
    struct pollfd *fds = text_memory(calloc(all->n + 1, sizeof(*fds)));
    uint64_t next_round = 0;
    bool asking = false, drawn = false;
    int key = SCREEN_NOTHING;

    if (screen_open() != 0)
        ctl_refuse(top->c, EX_OSERR, "top: the terminal: %s", strerror(errno));
    while (key != SCREEN_GONE && press(top, key, &next_round)) {
        if (!asking && clock_boottime_ns() >= next_round) {
            next_round = clock_boottime_ns() + (uint64_t)(top->interval * 1e9);
            asks_begin(all, list_step, &top->coming);
            asking = true;
        }
        if (asking && !asks_process(all)) {
            take_over(top);
            asks_hang_up(all);
            asking = drawn = false;
        }
        if (!drawn && draw(top) != 0)
            break;
        key = screen_wait(fds, all->n, patience(top, fds, asking, next_round));
        drawn = key == SCREEN_NOTHING;
    }
    screen_close();
    free(fds);
    return key == 'q' || key == 'Q' ? 0 : EX_IOERR;
}

int top_run(struct ctl *c)
{
    struct top top = {.c = c,
                      .interval = ctl_decimal(c, OPT_INTERVAL, 2),
                      .order = by_waiters,
                      .coming = {.prefix = "*"}};
    int status;

    if (top.interval < 0.1 || top.interval > 86400)
        ctl_refuse(c, EX_USAGE, "--interval: top looks every 0.1 to 86400 seconds");
    top.failed = text_memory(calloc(c->all.n, sizeof(*top.failed)));
    status = screen_usable() ? watch(&top) : print_once(&top);
    for (size_t i = 0; i < c->all.n; i++)
        free(top.failed[i]);
    free(top.failed);
    data_free_rows(&top.shown);
    data_free_rows(&top.coming.rows);
    return status;
}
