/*
 * ctl/lookup.h - what the server of a key says of it: for show, and for evict before it evicts. One
 * thread.
 */
#ifndef CTL_LOOKUP_H
#define CTL_LOOKUP_H

#include "ctl/ctl.h"
#include "ctl/data.h"

struct lookup {
    const char *key;
    bool lock, sem; /* what to look for */
    FILE *json;     /* copied there instead, if not NULL */
    bool found_lock, found_sem;
    struct shown of_lock, of_sem; /* of what was found */
};

/* 0, or the exit status of an error that has been said; freed by lookup_free() in any case. */
int lookup_run(struct ctl *c, struct lookup *l);
void lookup_free(struct lookup *l);

#endif
