/*
 * http/framing.c - see framing.h.
 */
#include "http/framing.h"

#include <event2/http.h>

enum framing framing_check(const struct evhttp_request *req, const char **why)
{
    (void)req, (void)why;
    return FRAMING_GOOD;
}
