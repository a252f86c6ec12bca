/*
 * ctl/lookup.c - see lookup.h.
 */
#include "ctl/lookup.h"

struct search {
    struct lookup *l;
    bool asked_lock, asked_sem;
};

static enum ask_next ask_on(struct search *s, struct ask *a)
{
    if (s->l->lock && !s->asked_lock) {
        s->asked_lock = true;
        return ask_submit(a, "show", s->l->key, "lock");
    }
    if (s->l->sem && !s->asked_sem) {
        s->asked_sem = true;
        return ask_submit(a, "show", s->l->key, "sem");
    }
    return ASK_DONE;
}

static enum ask_next step(struct ask *a, const struct dflock_reply *reply, void *arg)
{
    struct search *s = arg;
    bool sem = s->asked_sem;
    int bad;

    if (reply == NULL) {
        *s = (struct search){.l = s->l};
        return ask_on(s, a);
    }
    if (reply->status != 0) /* there is none */
        return ask_on(s, a);
    if (s->l->json != NULL)
        bad = data_copy(s->l->json, a->server, reply);
    else
        bad = data_shown(sem ? &s->l->of_sem : &s->l->of_lock, reply);
    if (bad)
        return ask_fail(a, DFLOCK_ERR_PROTOCOL, "%s: its answer is not understood", a->server);
    *(sem ? &s->l->found_sem : &s->l->found_lock) = true;
    return ask_on(s, a);
}

int lookup_run(struct ctl *c, struct lookup *l)
{
    struct search s = {.l = l};

    asks_run_one(&c->all, ctl_key_server(c, l->key), step, &s);
    return ctl_failures(c);
}

void lookup_free(struct lookup *l)
{
    data_free_shown(&l->of_lock);
    data_free_shown(&l->of_sem);
}
