/*
 * ctl/evict.c - dflockctl evict: takes a lock or semaphore slot from its holder. See ctl.h.
 *
 * Looks first who that is, asks, and evicts by the fence that it has shown: whoever is granted it
 * meanwhile keeps it.
 */
#include "ctl/lookup.h"
#include "ctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct eviction {
    const char *key, *kind;
    const char *fence;
    bool refused;
};

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct eviction *e = arg;

    if (reply == NULL) {
        char line[64];

        snprintf(line, sizeof(line), "%s %s", e->kind, e->fence);
        return ask_submit(a, "evict", e->key, line);
    }
    e->refused = reply->status != 0;
    return ASK_DONE;
}

/* Who is to be evicted, among those that the server showed; NULL: nobody. */
static const struct holder *choose(const struct shown *s, const char *fence)
{
    if (fence == NULL) /* who has held it longest comes last */
        return s->holders > 0 && s->holders == s->nholders ? &s->holder[s->holders - 1] : NULL;
    for (size_t i = 0; i < s->holders; i++)
        if (strcmp(s->holder[i].fence, fence) == 0)
            return &s->holder[i];
    return NULL;
}

static bool confirmed(struct ctl *c, const char *what, const struct holder *h)
{
    char answer[16] = "";
    char *held;

    if (c->given[OPT_YES] != NULL)
        return true;
    held = text_seconds(h->held);
    fprintf(stderr, "Take %s from %s, fence %s, who has held it for %s? [y/N] ", what, h->addr,
            h->fence, held);
    free(held);
    if (fgets(answer, sizeof(answer), stdin) == NULL)
        fputc('\n', stderr);
    return answer[0] == 'y' || answer[0] == 'Y';
}

/* Why the server said no: the holder is gone, or the token is not an admin's. */
static int explain(struct ctl *c, struct lookup *l, const char *what, const char *fence)
{
    const struct shown *s = l->sem ? &l->of_sem : &l->of_lock;
    int status;

    lookup_free(l);
    status = lookup_run(c, l);
    if (status != 0)
        return status;
    if (choose(s, fence) == NULL) {
        fprintf(stderr, "dflockctl: %s: its holder with fence %s is gone meanwhile\n", what, fence);
        return 1;
    }
    fprintf(stderr,
            "dflockctl: %s: refused: evict needs one of the server's admin tokens "
            "(--auth-token-file; dflockd's --admin-token-file)\n",
            what);
    return EX_NOPERM;
}

static int evict(struct ctl *c, struct lookup *l, const char *fence, const char *what)
{
    const struct shown *s = l->sem ? &l->of_sem : &l->of_lock;
    const struct holder *h = choose(s, fence);
    struct eviction e = {.key = l->key, .kind = l->sem ? "sem" : "lock"};
    char chosen[32];
    int status;

    if (h == NULL && fence != NULL)
        fprintf(stderr, "dflockctl: %s: nobody holds it with fence %s\n", what, fence);
    else if (h == NULL && s->nholders > 0)
        fprintf(stderr, "dflockctl: %s: too many hold it to see who is the oldest: --fence N\n",
                what);
    else if (h == NULL)
        fprintf(stderr, "dflockctl: %s: nobody holds it\n", what);
    if (h == NULL)
        return 1;
    if (!confirmed(c, what, h)) {
        fputs("dflockctl: nothing was done\n", stderr);
        return 1;
    }
    snprintf(chosen, sizeof(chosen), "%s", h->fence);
    e.fence = chosen;
    asks_run_one(&c->all, ctl_key_server(c, l->key), step, &e);
    status = ctl_failures(c);
    if (status != 0)
        return status;
    if (e.refused)
        return explain(c, l, what, chosen);
    printf("evicted: %s from %s, fence %s\n", what, h->addr, chosen);
    return 0;
}

int evict_run(struct ctl *c)
{
    struct lookup l = {.key = ctl_key(c), .sem = c->given[OPT_SEM] != NULL};
    uint64_t number = ctl_number(c, OPT_FENCE, 1, 0);
    char *clean, *what, *fence = NULL;
    int status;

    if (l.sem && c->given[OPT_LOCK] != NULL)
        ctl_refuse(c, EX_USAGE, "evict: --lock or --sem, not both");
    if (c->given[OPT_YES] == NULL && (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)))
        ctl_refuse(c, EX_USAGE, "evict: nobody to ask here (no terminal): --yes evicts unasked");
    l.lock = !l.sem;
    clean = text_clean(l.key, strlen(l.key));
    what = text_format("%s %s at %s", l.sem ? "semaphore" : "lock", clean,
                       c->all.at[ctl_key_server(c, l.key)].server);
    if (number > 0)
        fence = text_format("%" PRIu64, number);
    status = lookup_run(c, &l);
    if (status == 0 && !l.found_lock && !l.found_sem) {
        fprintf(stderr, "dflockctl: %s: there is none\n", what);
        status = 1;
    } else if (status == 0) {
        status = evict(c, &l, fence, what);
    }
    lookup_free(&l);
    free(fence);
    free(what);
    free(clean);
    return status;
}
