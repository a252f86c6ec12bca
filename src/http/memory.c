/*
 * http/memory.c - see memory.h.
 */
#include "http/memory.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>

static unsigned long missed;

static void *give(size_t n)
{
    void *p = malloc(n);

    missed += !p && n > 0;
    return p;
}

static void *give_more(void *old, size_t n)
{
    void *p = realloc(old, n);

    missed += !p && n > 0;
    return p;
}

void memory_prepare(void)
{
    event_set_mem_functions(give, give_more, free);
    json_set_alloc_funcs(give, free);
}

unsigned long memory_missed(void)
{
    return missed;
}
