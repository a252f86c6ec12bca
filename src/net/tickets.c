/*
 * net/tickets.c - see tickets.h. Turned by the master, read by workers.
 */
#include "net/tickets.h"

#include "base/random.h"

#include <stdbool.h>
#include <string.h>

#define LIFE_NS (TICKETS_LIFE_S * UINT64_C(1000000000))

static const struct ticket_key *numbered(const struct tickets *t, const uint32_t *number)
{
    uint32_t n = __atomic_load_n(number, __ATOMIC_ACQUIRE);

    return n >= 1 && n <= TICKETS_KEYS ? &t->key[n - 1] : NULL;
}

int tickets_turn(struct tickets *t, uint64_t now)
{
    const struct ticket_key *newest = numbered(t, &t->newest);
    uint32_t next = newest ? t->newest % TICKETS_KEYS + 1 : 1;
    struct ticket_key fresh;
    int err;

    /* In the future: written over, or of another boot. */
    if (newest && t->made <= now && now - t->made < LIFE_NS)
        return 0;
    err = random_bytes(&fresh, sizeof(fresh));
    if (err)
        return err;
    t->key[next - 1] = fresh;
    explicit_bzero(&fresh, sizeof(fresh));
    /* Killed from here on: the previous key is known twice at worst, never lost while it is used. */
    __atomic_store_n(&t->previous, newest ? t->newest : next, __ATOMIC_RELEASE);
    t->made = now;
    __atomic_store_n(&t->newest, next, __ATOMIC_RELEASE);
    return 0;
}

const struct ticket_key *tickets_newest(const struct tickets *t)
{
    return numbered(t, &t->newest);
}

const struct ticket_key *tickets_find(const struct tickets *t, const uint8_t name[TICKET_NAME])
{
    const struct ticket_key *k = numbered(t, &t->newest);

    if (k && memcmp(k->name, name, TICKET_NAME) == 0)
        return k;
    k = numbered(t, &t->previous);
    return k && memcmp(k->name, name, TICKET_NAME) == 0 ? k : NULL;
}
