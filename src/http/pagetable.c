/*
 * http/pagetable.c - the status page's table: which resources, who holds them, who waits.
 */
#include "http/page_parts.h"

#include "base/clock.h"
#include "serving/top.h"

#include <stdio.h>
#include <string.h>

/* ---- addresses: all that was chosen is in them ---- */

struct link {
    bool sort; /* another order, this one: */
    enum top_sort by;
    bool descending;
    const char *cursor; /* NULL: from the start */
    const char *open;   /* a key; NULL: as it is */
    uint32_t open_len;
    unsigned open_kind;
    bool close;
};

static void add_escaped(struct text *t, const char *bytes, size_t n)
{
    char out[3 * TOP_CURSOR_MAX]; /* the longest of them */

    text_add(t, out, view_escape(out, bytes, n));
}

static void add_param(struct text *t, char *mark, const char *name, const char *value, size_t n)
{
    if (n == 0)
        return;
    text_printf(t, "%s%s=", *mark == '&' ? "&amp;" : "?", name);
    add_escaped(t, value, n);
    *mark = '&';
}

static void add_word(struct text *t, char *mark, const char *name, const char *value)
{
    if (value)
        add_param(t, mark, name, value, strlen(value));
}

static const char *kind_name(unsigned kind)
{
    return kind == KIND_SEM ? "sem" : "lock";
}

static const char *kinds_name(unsigned kinds)
{
    return kinds == 1 << KIND_LOCK ? "lock" : kinds == 1 << KIND_SEM ? "sem" : NULL;
}

static void add_open(struct text *t, char *mark, unsigned kind, const char *key, uint32_t len)
{
    char value[KEY_MAX + 8];
    int n = snprintf(value, sizeof(value), "%s/", kind_name(kind));

    memcpy(value + n, key, len);
    text_printf(t, "%sopen=", *mark == '&' ? "&amp;" : "?");
    add_escaped(t, value, (size_t)n);
    add_escaped(t, key, len);
    *mark = '&';
}

static void add_link(struct page *p, const struct link *l)
{
    enum top_sort sort = l->sort ? l->by : p->q.sort;
    bool descending = l->sort ? l->descending : p->q.descending;
    const char *cursor = l->cursor;
    struct text *t = &p->out;
    char limit[16], mark = '?';

    text_put(t, "/");
    add_word(t, &mark, "kind", kinds_name(p->q.filter.kinds));
    add_param(t, &mark, "prefix", p->q.filter.prefix, p->q.filter.prefix_len);
    add_param(t, &mark, "contains", p->q.filter.contains, p->q.filter.contains_len);
    if (p->stated)
        add_word(t, &mark, "state", listing_state_name(p->q.filter.states));
    if (l->sort || p->chosen) {
        add_word(t, &mark, "sort", top_sort_name(sort));
        if (descending != top_descends(sort))
            add_word(t, &mark, "order", descending ? "desc" : "asc");
    }
    if (p->q.limit != LISTING_LIMIT) {
        snprintf(limit, sizeof(limit), "%u", p->q.limit);
        add_word(t, &mark, "limit", limit);
    }
    if (cursor)
        add_word(t, &mark, "cursor", cursor);
    if (l->open)
        add_open(t, &mark, l->open_kind, l->open, l->open_len);
    else if (p->open_len && !l->close)
        add_open(t, &mark, p->open_kind, p->open_key, p->open_len);
}

/* The same page: where it is already, it stays. */
static const char *here(const struct page *p)
{
    return p->q.cursor_len ? p->q.cursor : NULL;
}

void page_self(struct page *p)
{
    add_link(p, &(struct link){.cursor = here(p)});
}

void page_link_open(struct page *p, unsigned kind, const char *key, uint32_t len)
{
    add_link(p, &(struct link){.cursor = here(p), .open = key, .open_len = len, .open_kind = kind});
}

/* ---- above the table ---- */

static void option(struct page *p, const char *value, const char *name, bool chosen)
{
    text_printf(&p->out, "<option value=\"%s\"%s>%s</option>", value, chosen ? " selected" : "",
                name);
}

static void hidden(struct page *p, const char *name, const char *value)
{
    text_printf(&p->out, "<input type=\"hidden\" name=\"%s\" value=\"%s\">", name, value);
}

static const struct {
    enum top_sort by;
    const char *name;
} orders[] = {
    {TOP_WAITERS, "Longest queue"}, {TOP_OLDEST_WAIT, "Oldest wait"},
    {TOP_HELD_SINCE, "Held longest"}, {TOP_LEASE_LEFT, "Lease left"}, {TOP_KEY, "Key"},
};
enum { ORDERS = sizeof(orders) / sizeof(orders[0]) };

void page_form(struct page *p)
{
    unsigned kinds = p->q.filter.kinds, states = p->q.filter.states;
    struct text *t = &p->out;

    text_put(t, "<label class=\"wide\">Key contains <input type=\"search\" id=\"contains\" "
                "name=\"contains\" maxlength=\"256\" autocomplete=\"off\" spellcheck=\"false\" "
                "value=\"");
    page_escape(t, p->q.filter.contains, p->q.filter.contains_len);
    text_put(t, "\"></label><label>Kind <select id=\"kind\" name=\"kind\">");
    option(p, "", "Both", !kinds_name(kinds));
    option(p, "lock", "Locks", kinds == 1 << KIND_LOCK);
    option(p, "sem", "Semaphores", kinds == 1 << KIND_SEM);
    text_put(t, "</select></label><label>State <select id=\"state\" name=\"state\">");
    option(p, "", "In use", !p->stated);
    option(p, "waiting", "With a queue", p->stated && states == VIEW_WAITING);
    option(p, "held", "Held", p->stated && states == VIEW_HELD);
    option(p, "idle", "Idle", p->stated && states == VIEW_IDLE);
    option(p, "any", "All", p->stated && states == VIEW_ANY);
    text_put(t, "</select></label>");
    /* Where the columns have no heads to sort by. */
    text_put(t, "<label class=\"narrow\">Order <select id=\"sort\" name=\"sort\">");
    for (int i = 0; i < ORDERS; i++)
        option(p, orders[i].by == TOP_WAITERS && !p->chosen ? "" : top_sort_name(orders[i].by),
               orders[i].name, orders[i].by == p->q.sort);
    text_put(t, "</select></label>");
    hidden(p, "order",
           p->chosen && p->q.descending != top_descends(p->q.sort)
               ? (p->q.descending ? "desc" : "asc")
               : "");
    text_put(t, "<button type=\"submit\" id=\"show\">Show</button>");
}

void page_count(struct page *p)
{
    uint64_t matched = top_offered(p->top);
    bool filtered = p->q.filter.contains_len || p->q.filter.prefix_len;

    if (p->rows == matched) {
        page_number(&p->out, matched);
        text_put(&p->out, matched == 1 ? " key" : " keys");
    } else {
        page_number(&p->out, p->rows);
        text_put(&p->out, " of ");
        page_number(&p->out, matched);
        text_put(&p->out, " keys");
    }
    text_put(&p->out, filtered ? " found" : "");
}

static const struct {
    const char *name, *class;
    int sort; /* -1: not by this */
} heads[] = {
    {"Key", "", TOP_KEY},
    {"Kind", "", -1},
    {"Held by", "", -1},
    {"Held for", " class=\"number\"", TOP_HELD_SINCE},
    {"Lease left", "", TOP_LEASE_LEFT},
    {"Waiting", " class=\"number\"", TOP_WAITERS},
    {"Oldest wait", " class=\"number\"", TOP_OLDEST_WAIT},
};
enum { COLUMNS = sizeof(heads) / sizeof(heads[0]) };

/* Held since earlier is held for longer: the column and the order run against each other. */
static bool shown_descending(const struct page *p)
{
    return p->q.sort == TOP_HELD_SINCE ? !p->q.descending : p->q.descending;
}

void page_heads(struct page *p)
{
    for (int i = 0; i < COLUMNS; i++) {
        bool now = heads[i].sort == (int)p->q.sort;
        struct link l = {.sort = true, .by = (enum top_sort)heads[i].sort};

        text_printf(&p->out, "<th scope=\"col\" role=\"columnheader\"%s", heads[i].class);
        if (heads[i].sort < 0) {
            text_printf(&p->out, ">%s</th>", heads[i].name);
            continue;
        }
        if (now)
            text_printf(&p->out, " aria-sort=\"%s\"",
                        shown_descending(p) ? "descending" : "ascending");
        l.descending = now ? !p->q.descending : top_descends(l.by);
        text_printf(&p->out, "><a data-go id=\"s-%s\" href=\"", top_sort_name(l.by));
        add_link(p, &l);
        text_printf(&p->out, "\">%s%s</a></th>", heads[i].name,
                    !now                  ? ""
                    : shown_descending(p) ? " <span aria-hidden=\"true\">↓</span>"
                                          : " <span aria-hidden=\"true\">↑</span>");
    }
}

/* ---- a resource ---- */

enum { PEER_SHORT = 24 };

static void add_who(struct page *p, const struct view_entry *e)
{
    char text[64];
    const char *peer = view_peer(e, text, sizeof(text));

    if (!peer)
        peer = "connection gone";
    /* What is long, as addresses of IPv6 are, may be broken anywhere. */
    text_printf(&p->out, "<span%s>%s</span> <small>#%llu</small>",
                strlen(peer) < PEER_SHORT ? " class=\"peer\"" : "", peer,
                (unsigned long long)e->conn_id);
    if (e->session)
        text_put(&p->out, " <span class=\"tag\">HTTP</span>");
}

/* How much of its lease is left: at a glance, and in words. */
static void add_lease(struct page *p, const struct view_entry *e)
{
    uint64_t left = e->end > p->now ? e->end - p->now : 0;
    uint64_t part = e->lease ? left / (e->lease / 1000 + 1) : 0;

    page_time(&p->out, p->now, e->end);
    text_printf(&p->out, "<progress aria-hidden=\"true\" max=\"1000\" value=\"%llu\"%s></progress>",
                (unsigned long long)(part > 1000 ? 1000 : part),
                part < 200 ? " class=\"short\"" : "");
}

static void cell(struct page *p, const char *class, const char *label)
{
    text_printf(&p->out, "<td role=\"cell\" class=\"%s\" data-label=\"%s\">", class, label);
}

static void end_cell(struct page *p)
{
    text_put(&p->out, "</td>");
}

static void add_holders(struct page *p)
{
    const struct view_one *one = &p->one;

    text_printf(&p->out, "<div><h3>%s</h3>", one->limit == 1 ? "Holder" : "Holders");
    if (one->nholders == 0) {
        text_put(&p->out, "<p class=\"soft\">Nobody holds it.</p></div>");
        return;
    }
    text_put(&p->out, "<table class=\"holders\"><thead><tr><th scope=\"col\">Connection</th>"
                      "<th scope=\"col\">Held since (UTC)</th>"
                      "<th scope=\"col\" class=\"number\">Held for</th>"
                      "<th scope=\"col\">Lease left</th>"
                      "<th scope=\"col\" class=\"number\">Fence</th></tr></thead><tbody>");
    for (uint32_t i = 0; i < one->holders_shown; i++) {
        const struct view_entry *e = &one->holder[i];

        text_printf(&p->out, "<tr id=\"h-%llu\"><td class=\"who\">", (unsigned long long)e->fence);
        add_who(p, e);
        text_put(&p->out, "</td><td class=\"date\">");
        page_date(p, e->since, " ");
        text_put(&p->out, "</td><td class=\"number since\">");
        page_since(p, e->since);
        text_put(&p->out, "</td><td class=\"lease\">");
        add_lease(p, e);
        text_printf(&p->out, "</td><td class=\"number fence\">%llu</td></tr>",
                    (unsigned long long)e->fence);
    }
    text_put(&p->out, "</tbody></table>");
    if (one->holders_shown < one->nholders)
        text_printf(&p->out, "<p class=\"soft\">and %u more</p>",
                    one->nholders - one->holders_shown);
    text_put(&p->out, "</div>");
}

static void add_queue(struct page *p)
{
    const struct view_one *one = &p->one;

    text_put(&p->out, "<div><h3>Queue</h3>");
    if (one->nwaiters == 0) {
        text_put(&p->out, "<p class=\"soft\">Nobody waits.</p></div>");
        return;
    }
    text_put(&p->out, "<table class=\"waiters\"><thead><tr><th scope=\"col\" class=\"number\">"
                      "Position</th><th scope=\"col\">Connection</th>"
                      "<th scope=\"col\" class=\"number\">Waits for</th></tr></thead><tbody>");
    for (uint32_t i = 0; i < one->queue_shown; i++) {
        const struct view_entry *e = &one->queue[i];

        text_printf(&p->out, "<tr><td class=\"number\">%u</td><td class=\"who\">", i + 1);
        add_who(p, e);
        text_put(&p->out, "</td><td class=\"number\">");
        page_since(p, e->since);
        text_put(&p->out, "</td></tr>");
    }
    text_put(&p->out, "</tbody></table>");
    if (one->queue_shown < one->nwaiters)
        text_printf(&p->out, "<p class=\"soft\">and %u more</p>", one->nwaiters - one->queue_shown);
    text_put(&p->out, "</div>");
}

static void add_details(struct page *p)
{
    if (p->open_len > 80) {
        text_put(&p->out, "<p class=\"key-whole\">");
        page_key(&p->out, p->open_key, p->open_len);
        text_put(&p->out, "</p>");
    }
    text_put(&p->out, "<div class=\"sides\">");
    add_holders(p);
    add_queue(p);
    text_put(&p->out, "</div><p><a data-go data-close href=\"");
    add_link(p, &(struct link){.cursor = here(p), .close = true});
    text_put(&p->out, "\">Close</a></p>");
}

void page_open(struct page *p)
{
    if (!p->open_len || p->listed)
        return;
    text_put(&p->out, "<section id=\"opened\" class=\"more\"><h3 class=\"key\">");
    page_key(&p->out, p->open_key, p->open_len);
    text_printf(&p->out, " <span class=\"tag\">%s</span></h3>",
                p->open_kind == KIND_SEM ? "semaphore" : "lock");
    if (p->found) {
        add_details(p);
    } else {
        text_put(&p->out, "<p class=\"soft\">It is not there: nobody holds it, nobody waits.</p>"
                          "<p><a data-go data-close href=\"");
        add_link(p, &(struct link){.cursor = here(p), .close = true});
        text_put(&p->out, "\">Close</a></p>");
    }
    text_put(&p->out, "</section>");
}

bool page_is_open(const struct page *p, const struct view_row *r)
{
    return p->found && r->kind == p->open_kind && r->key_len == p->open_len &&
           memcmp(r->key, p->open_key, r->key_len) == 0;
}

static void add_id(struct page *p, const char *prefix, const struct view_row *r)
{
    text_printf(&p->out, " id=\"%s-%s-", prefix, kind_name(r->kind));
    add_escaped(&p->out, r->key, r->key_len);
    text_put(&p->out, "\"");
}

static void add_key(struct page *p, const struct view_row *r, bool open)
{
    text_put(&p->out, "<td role=\"cell\" class=\"key\"><a data-go");
    add_id(p, "k", r);
    text_printf(&p->out, " aria-expanded=\"%s\" href=\"", open ? "true" : "false");
    if (open)
        add_link(p, &(struct link){.cursor = here(p), .close = true});
    else
        page_link_open(p, r->kind, r->key, r->key_len);
    text_put(&p->out, "\">");
    page_key(&p->out, r->key, r->key_len);
    text_put(&p->out, "</a></td>");
}

static void add_holder(struct page *p, const struct view_row *r)
{
    cell(p, "who", "Held by");
    if (r->nholders == 0)
        text_put(&p->out, "<span class=\"soft\">nobody</span>");
    else
        add_who(p, &r->holder);
    if (r->nholders > 1)
        text_printf(&p->out, " <span class=\"soft rest\">and %u more</span>", r->nholders - 1);
    end_cell(p);
    cell(p, "number since", "Held for");
    if (r->nholders)
        page_since(p, r->holder.since);
    end_cell(p);
    cell(p, "lease", "Lease left");
    if (r->nholders)
        add_lease(p, &r->holder);
    end_cell(p);
}

static void add_row(struct page *p, const struct view_row *r)
{
    bool open = page_is_open(p, r);

    text_printf(&p->out, "<tr role=\"row\" class=\"row%s\"", open ? " opened" : "");
    add_id(p, "r", r);
    text_put(&p->out, ">");
    add_key(p, r, open);
    cell(p, "kind", "Kind");
    if (r->kind == KIND_SEM)
        text_printf(&p->out, "semaphore, %u of %u", r->nholders, r->limit);
    else
        text_put(&p->out, "lock");
    end_cell(p);
    add_holder(p, r);
    cell(p, r->nwaiters ? "number queue" : "number queue zero", "waiting");
    text_put(&p->out, r->nwaiters ? "<b>" : "");
    page_number(&p->out, r->nwaiters);
    text_put(&p->out, r->nwaiters ? "</b>" : "");
    end_cell(p);
    cell(p, "number wait", "Oldest wait");
    if (r->nwaiters)
        page_since(p, r->waits_since);
    end_cell(p);
    text_put(&p->out, "</tr>");
    if (!open)
        return;
    text_put(&p->out, "<tr role=\"row\" class=\"more\"");
    add_id(p, "m", r);
    text_printf(&p->out, "><td role=\"cell\" colspan=\"%d\">", COLUMNS);
    add_details(p);
    text_put(&p->out, "</td></tr>");
}

/* No white space between the rows: the script would take it for something. */
bool page_rows(struct page *p)
{
    const char *none = "Nothing is held, and nobody waits.";

    while (p->at_row < p->rows && p->out.n < PAGE_STEP)
        add_row(p, top_row(p->top, p->at_row++));
    if (p->rows > 0)
        return p->at_row == p->rows;
    if (p->q.cursor_len)
        none = "There is nothing more.";
    else if (p->totals.locks + p->totals.semaphores > 0)
        none = "No key is like that now.";
    text_printf(&p->out, "<tr role=\"row\" id=\"none\"><td role=\"cell\" class=\"empty\" "
                         "colspan=\"%d\">%s</td></tr>",
                COLUMNS, none);
    return true;
}

void page_paging(struct page *p)
{
    char cursor[TOP_CURSOR_MAX];
    const char *next = top_cursor(p->top, cursor);

    if (!next && !p->q.cursor_len)
        return;
    text_put(&p->out, "<nav class=\"paging\" aria-label=\"Pages\">");
    if (p->q.cursor_len) {
        text_put(&p->out, "<a class=\"button\" data-go id=\"first\" href=\"");
        add_link(p, &(struct link){0});
        text_put(&p->out, "\">First page</a>");
    }
    if (next) {
        text_put(&p->out, "<a class=\"button\" data-go id=\"next\" href=\"");
        add_link(p, &(struct link){.cursor = next});
        text_put(&p->out, "\">Next page</a>");
    }
    text_put(&p->out, "</nav>");
}
