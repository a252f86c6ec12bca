/*
 * http/framing.h - what libevent reads as a request and another server on the way might read
 * otherwise. Pure.
 *
 * Refused with 400 and a close: more than one Content-Length, one that is not digits only, one beside
 * Transfer-Encoding; a coding other than chunked, or more than one; a body that libevent did not read
 * (it would take it for the next request); a header's name that is no token (blanks before the colon);
 * folded lines, lines that do not end with CR LF, control characters in the head; more than one Host,
 * or none. A chunked request is served, and the connection closed after it: libevent is lenient about
 * chunk sizes.
 */
#ifndef HTTP_FRAMING_H
#define HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

struct evhttp_request;

/* The head of a request as it comes, byte by byte. */
struct framing_head {
    size_t line;   /* bytes of the line so far */
    bool fields;   /* behind the request line */
    bool named;    /* behind the line's colon */
    bool cr;
    bool ended;
    const char *bad; /* what is wrong with it, static; NULL: nothing yet */
};

void framing_begin(struct framing_head *f);
/* How many of n bytes belong to the head. */
size_t framing_feed(struct framing_head *f, const char *bytes, size_t n);

enum framing { FRAMING_GOOD, FRAMING_LAST, FRAMING_BAD };

/* LAST: serve it, then close. BAD: *why is for the client, static. */
enum framing framing_check(const struct framing_head *f, struct evhttp_request *req,
                           const char **why);

/* Why not, of one whose end is clear but which says twice who asks; static. NULL: it does not. */
const char *framing_who(struct evhttp_request *req);

#endif
