/*
 * http/pagestatus.c - the status page's upper half: is all well, how much is there, who serves.
 */
#include "http/page_parts.h"

#include "base/clock.h"
#include "http/http.h"
#include "shm/counters.h"
#include "shm/fences.h"

#include <stdio.h>

/* A worker that has been silent for so long is shown. */
#define SILENT_NS (3 * NS_PER_SEC)

struct health {
    uint32_t lock_workers, http_workers, silent;
    uint32_t lost; /* shards */
    uint64_t deaths, repairs;
    uint64_t grants, queued, expirations, refused;
};

static uint64_t relaxed(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static uint32_t silent_for(const struct page *p, uint32_t worker)
{
    uint64_t since = relaxed(&p->h->r->down_since[worker]);

    return since && p->now > since + SILENT_NS ? (uint32_t)((p->now - since) / NS_PER_SEC) : 0;
}

/* Whether somebody serves in that slot. */
static bool in_use(const struct page *p, uint32_t worker)
{
    return (worker < __atomic_load_n(&p->h->r->nslots, __ATOMIC_RELAXED) ||
            worker == HTTP_WORKER) &&
           region_worker(p->h->r, worker)->pid != 0;
}

static struct health look(const struct page *p)
{
    struct health s = {0};
    struct counters n;

    counters_sum(p->h->r, &n);
    s.repairs = n.repairs + n.rebuilt;
    s.grants = counters_grants(&n);
    s.queued = n.tally.queued[TALLY_LOCK] + n.tally.queued[TALLY_SEM];
    s.expirations = n.tally.expired;
    s.refused = n.rejected[LIMIT_LOCKS] + n.rejected[LIMIT_WAITERS];
    for (uint32_t i = 0; i < WORKER_MAX; i++) {
        s.deaths += region_worker(p->h->r, i)->deaths;
        if (!in_use(p, i))
            continue;
        s.lock_workers += i != HTTP_WORKER;
        s.http_workers += i == HTTP_WORKER;
        s.silent += silent_for(p, i) > 0;
    }
    for (uint32_t i = 0; i < SHARD_COUNT; i++)
        s.lost += table_lost(&p->h->sh.table, i);
    return s;
}

void page_title(struct page *p)
{
    uint64_t waiting = p->totals.lock_waiters + p->totals.semaphore_waiters;

    page_number(&p->out, p->totals.locks_held);
    text_put(&p->out, " held, ");
    page_number(&p->out, waiting);
    text_put(&p->out, " waiting – dflockd");
}

/* The worst there is, in one line. */
static void write_verdict(struct page *p, const struct health *s)
{
    const char *sort = "", *word = "All is well", *more = "";
    char text[160];

    if (s->lost) {
        snprintf(text, sizeof(text), "%u of %u parts of the table are beyond repair", s->lost,
                 SHARD_COUNT);
        sort = " bad";
        word = text;
        more = "Their keys answer with errors until the server starts anew.";
    } else if (__atomic_load_n(&p->h->r->fences, __ATOMIC_RELAXED) == FENCES_FAILING) {
        sort = " bad";
        word = "Fences cannot be written down";
        more = "No lock is given until the state file can be written: the log says why not.";
    } else if (__atomic_load_n(&p->h->r->draining, __ATOMIC_RELAXED)) {
        sort = " warn";
        word = "Ending";
        more = "Locks are given back, no new ones are given.";
    } else if (relaxed(&p->h->r->grants_from) > p->now) {
        sort = " warn";
        word = "Starting";
        more = "Nothing is granted until earlier leases must have ended.";
    } else if (s->silent) {
        snprintf(text, sizeof(text), "%u worker%s not answer", s->silent,
                 s->silent == 1 ? " does" : "s do");
        sort = " warn";
        word = text;
        more = "The log says what becomes of it.";
    }
    text_printf(&p->out, "<p id=\"verdict\" class=\"verdict%s\"><b>%s</b><span>%s%s", sort, word,
                more, *more ? " " : "");
}

/* What there has been, if anything. */
static void more(struct page *p, uint64_t n, const char *what)
{
    if (n == 0)
        return;
    text_put(&p->out, ", ");
    page_number(&p->out, n);
    text_printf(&p->out, " %s%s", what, n == 1 ? "" : "s");
}

void page_verdict(struct page *p)
{
    struct health s = look(p);
    uint64_t now = clock_realtime_ns();

    write_verdict(p, &s);
    text_printf(&p->out, "version %s, up ", PACKAGE_VERSION);
    page_time(&p->out, p->h->r->created, now);
    text_printf(&p->out, ", %u worker%s", s.lock_workers, s.lock_workers == 1 ? "" : "s");
    more(p, s.deaths, "restart");
    more(p, s.repairs, "repair");
    text_put(&p->out, "</span></p>");
}

static void begin(struct page *p, const char *id, const char *name, bool marked)
{
    text_printf(&p->out, "<div%s><dt>%s</dt><dd id=\"n-%s\">", marked ? " class=\"some\"" : "",
                name, id);
}

static void end(struct page *p)
{
    text_put(&p->out, "</dd></div>");
}

/* A number, and what is to be known about it. */
static void tile(struct page *p, const char *id, const char *name, uint64_t n, bool marked)
{
    begin(p, id, name, marked);
    page_number(&p->out, n);
}

static void tile_end(struct page *p, const char *before, uint64_t n, const char *after)
{
    text_printf(&p->out, " <small>%s", before);
    page_number(&p->out, n);
    text_printf(&p->out, "%s</small>", after);
    end(p);
}

static void tile_alone(struct page *p, const char *id, const char *name, uint64_t n, bool marked)
{
    tile(p, id, name, n, marked);
    end(p);
}

static void oldest_tile(struct page *p)
{
    const struct view_totals *t = &p->totals;

    begin(p, "oldest", "Oldest wait", t->queues > 0);
    if (t->queues) {
        page_since(p, t->waits_since);
        text_put(&p->out, " <small>for <a data-go href=\"");
        page_link_open(p, t->waits_kind, t->waits_key, t->waits_key_len);
        text_put(&p->out, "\">");
        page_key(&p->out, t->waits_key, t->waits_key_len);
        text_put(&p->out, "</a></small>");
    } else {
        text_put(&p->out, "none");
    }
    end(p);
}

/* What people come for. */
void page_tiles(struct page *p)
{
    const struct view_totals *t = &p->totals;
    uint64_t waiting = t->lock_waiters + t->semaphore_waiters;

    tile(p, "held", "Locks held", t->locks_held, false);
    tile_end(p, "of ", t->locks, t->locks == 1 ? " lock" : " locks");
    tile(p, "slots", "Slots held", t->semaphore_holders, false);
    tile_end(p, "of ", t->semaphores, t->semaphores == 1 ? " semaphore" : " semaphores");
    tile(p, "waiting", "Waiting", waiting, waiting > 0);
    tile_end(p, "in ", t->queues, t->queues == 1 ? " queue" : " queues");
    oldest_tile(p);
}

void page_facts(struct page *p)
{
    struct health s = look(p);

    tile(p, "keys", "Keys", p->totals.locks + p->totals.semaphores, false);
    tile_end(p, "of ", (uint64_t)p->h->settings->max_locks, "");
    tile_alone(p, "connections", "Connections", relaxed(&p->h->r->nconns), false);
    tile_alone(p, "sessions", "HTTP sessions", relaxed(&p->h->r->nsessions), false);
    tile(p, "grants", "Grants", s.grants, false);
    tile_end(p, "", s.queued, " after a wait");
    tile_alone(p, "expired", "Leases run out", s.expirations, false);
    if (s.refused)
        tile_alone(p, "refused", "Refused, no room", s.refused, true);
}

static void worker_row(struct page *p, uint32_t i)
{
    const struct worker_slot *w = region_worker(p->h->r, i);
    const struct counters *c = &w->counters;
    uint32_t silent = silent_for(p, i);

    text_printf(&p->out,
                "<tr id=\"w-%u\"><td>%s</td><td class=\"number\">%u</td><td class=\"number\">", i,
                i == HTTP_WORKER ? "HTTP" : "locks", w->pid);
    page_time(&p->out, relaxed(&w->started), p->now);
    text_put(&p->out, "</td><td class=\"number\">");
    page_number(&p->out, w->deaths);
    text_put(&p->out, "</td><td class=\"number\">");
    page_number(&p->out, counters_grants(c));
    text_put(&p->out, "</td><td class=\"number\">");
    page_number(&p->out, relaxed(&c->repairs) + relaxed(&c->rebuilt));
    if (silent)
        text_printf(&p->out, "</td><td>silent for %u s</td></tr>", silent);
    else
        text_put(&p->out, "</td><td>serves</td></tr>");
}

void page_workers(struct page *p)
{
    struct health s = look(p);

    text_put(&p->out, "<details id=\"workers\"><summary>Workers: ");
    text_printf(&p->out, "%u for locks, %u for HTTP, ", s.lock_workers, s.http_workers);
    page_number(&p->out, s.deaths);
    text_put(&p->out, " restarted, ");
    page_number(&p->out, s.repairs);
    text_put(&p->out, " repairs</summary><table><thead><tr><th scope=\"col\">Serves</th>"
                      "<th scope=\"col\" class=\"number\">Process</th>"
                      "<th scope=\"col\" class=\"number\">Up</th>"
                      "<th scope=\"col\" class=\"number\">Restarts</th>"
                      "<th scope=\"col\" class=\"number\">Grants</th>"
                      "<th scope=\"col\" class=\"number\">Repairs</th>"
                      "<th scope=\"col\">State</th></tr></thead><tbody>");
    for (uint32_t i = 0; i < WORKER_MAX; i++)
        if (in_use(p, i))
            worker_row(p, i);
    text_put(&p->out, "</tbody></table></details>");
}
