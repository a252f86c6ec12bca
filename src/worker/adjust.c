/*
 * worker/adjust.c - other settings, while connections are served.
 *
 * They come from the master as a sealed file in memory and take effect between two turns, all at
 * once; then the worker's slot says so. A worker that dies before has an heir that is born with
 * them.
 */
#include "base/log.h"
#include "base/point.h"
#include "serving/certificate.h"
#include "serving/newsettings.h"
#include "worker/worker.h"

#include <stdlib.h>

/* The master sends others only when all workers have said that they have these. */
void adjust_came(struct worker *w, int fd, uint32_t generation)
{
    w->new_settings = fd > 0 ? fd : 0; /* without it: the master will replace this worker */
    w->new_generation = generation;
}

static void apply(struct worker *w, struct settings *s)
{
    w->settings = s;
    free(w->own_settings);
    w->own_settings = s;
    log_init(s->log_format, s->log_level);
    loop_times(w);
    w->expire_at = 0;
    /* Deadlines may come sooner now. */
    for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
        if (w->peers[slot].stream.fd > 0)
            loop_ready(w, slot);
}

void adjust_turn(struct worker *w)
{
    struct served *all;
    struct settings *s;

    if (w->new_settings <= 0)
        return;
    s = malloc(sizeof(*s));
    all = newsettings_read(w->new_settings);
    w->new_settings = 0;
    if (s && all && certificate_use(&w->tls, w->r, &all->tls_files) == 0) {
        *s = all->settings;
        POINT(RELOAD_APPLY);
        apply(w, s);
        __atomic_store_n(&w->sh.slot->configured, w->new_generation, __ATOMIC_RELEASE);
        POINT(RELOAD_APPLIED);
    } else {
        log_error("new settings cannot be used, this worker will be replaced");
        free(s);
    }
    newsettings_free(all);
}
