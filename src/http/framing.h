/*
 * http/framing.h - what libevent reads as a request and another server on the way might read
 * otherwise. Pure.
 *
 * Refused with 400 and a close: more than one Content-Length, one that is not digits only, one beside
 * Transfer-Encoding; a coding other than chunked, or more than one; a body where the method has none
 * (libevent would take it for the next request); a header's name that is no token (blanks before the
 * colon, folded lines); more than one Host. A chunked request is served, and the connection closed
 * after it: libevent is lenient about chunk sizes.
 */
#ifndef HTTP_FRAMING_H
#define HTTP_FRAMING_H

#include <stdbool.h>

struct evhttp_request;

enum framing { FRAMING_GOOD, FRAMING_LAST, FRAMING_BAD };

/* LAST: serve it, then close. BAD: *why is for the client, static. */
enum framing framing_check(const struct evhttp_request *req, const char **why);

#endif
