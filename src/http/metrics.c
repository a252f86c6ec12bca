/*
 * http/metrics.c - see metrics.h.
 */
#include "http/metrics.h"

#include "http/call.h"

void metrics_serve(struct call *c)
{
    call_answer_error(c, HTTP_ERR_INTERNAL, NULL);
}

void metrics_count(const struct call *c, int status, uint64_t took_ns)
{
    (void)c, (void)status, (void)took_ns;
}
