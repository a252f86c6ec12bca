/*
 * supervisor/tell.c - what the service manager hears from the master, and when. Runs in the master.
 *
 * At most once a second, but for the turns in the server's life: a manager that is told of each
 * connection would have no time for anything else.
 */
#include "base/clock.h"
#include "supervisor/master_state.h"
#include "supervisor/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TELL_NS NS_PER_SEC
#define TELL_RESULT_NS (10 * NS_PER_SEC)
#define EXTEND_NS (10 * NS_PER_SEC) /* of a drain: a master that hangs in it ends after this */

static void status(const struct master *m, char *out, size_t n)
{
    uint32_t serving = 0;

    for (uint32_t i = 0; i < m->nworkers; i++)
        serving += m->child[i].state == CHILD_SERVING;
    if (m->stage == STAGE_SERVING)
        snprintf(out, n, "Serving: %" PRIu32 " of %" PRIu32 " workers, connections: %" PRIu32,
                 serving, m->nworkers, m->keeper.open);
    else if (m->stage == STAGE_STOPPING)
        snprintf(out, n, "Stopping");
    else if (m->stage == STAGE_QUIET)
        snprintf(out, n, "Upgrading, connections: %" PRIu32, m->keeper.open);
    else if (m->deadline == TIME_NEVER)
        snprintf(out, n, "Draining, connections left: %" PRIu32, m->keeper.open);
    else
        snprintf(out, n, "Draining, connections left: %" PRIu32 ", %" PRIu64 " s at most",
                 m->keeper.open,
                 m->deadline > m->now ? (m->deadline - m->now) / NS_PER_SEC + 1 : 0);
}

static void tell_status(struct master *m)
{
    char text[sizeof(m->told.status)];

    status(m, text, sizeof(text));
    if (strcmp(text, m->told.status) == 0)
        return;
    snprintf(m->told.status, sizeof(m->told.status), "%s", text);
    notify_status(text);
}

/* Listeners that are our own go to the manager to keep, so that clients that come while there is no
   master wait instead of being refused. */
static void keep_listeners(const struct listen_set *set)
{
    for (unsigned i = 0; i < set->n && !set->passed; i++)
        notify_store(NOTIFY_LISTENER, set->l[i].fd);
}

void tell_ready(struct master *m)
{
    m->told.watchdog = notify_watchdog() / 2;
    notify_store(NOTIFY_REGION, m->args->region_fd); /* first, should there not be room for all */
    keep_listeners(m->args->listeners);
    keep_listeners(m->args->http);
    notify_barrier();
    tell_status(m);
    m->told.next = m->now + TELL_NS;
    notify_ready();
}

void tell_stop(struct master *m)
{
    notify_stopping();
    m->told.next = m->now;
    tell_tick(m);
}

void tell_drain(struct master *m)
{
    notify_stopping();
    if (!m->args->listeners->passed)
        notify_unstore(NOTIFY_LISTENER);
    m->told.next = m->now;
    tell_tick(m);
}

void tell_reloading(struct master *m)
{
    (void)m;
    notify_reloading();
}

/* The result stays to be seen until the usual status has something else to say. */
void tell_reloaded(struct master *m, bool good, const char *what)
{
    char text[sizeof(m->told.status)];

    snprintf(text, sizeof(text), "%s: %s", good ? "Reloaded" : "Reload refused", what);
    notify_status(text);
    m->told.next = m->now + TELL_RESULT_NS;
    m->told.status[0] = '\0';
    if (m->stage == STAGE_SERVING)
        notify_ready();
}

void tell_tick(struct master *m)
{
    if (m->told.watchdog && m->now >= m->told.alive) {
        notify_alive();
        m->told.alive = m->now + m->told.watchdog;
    }
    if (m->now < m->told.next)
        return;
    m->told.next = m->now + TELL_NS;
    tell_status(m);
    if (m->stage != STAGE_SERVING)
        notify_extend(EXTEND_NS);
}
