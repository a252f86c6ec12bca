/*
 * http/locks.h - the operations on locks and semaphores.
 */
#ifndef HTTP_LOCKS_H
#define HTTP_LOCKS_H

#include "core/table.h"
#include "proto/reply.h"

struct call;

/* Handlers; the call has a key, a session and a body that was checked. */
void locks_acquire(struct call *c);
void locks_release(struct call *c);
void locks_renew(struct call *c);
void locks_enqueue(struct call *c);
void locks_wait(struct call *c);

/* What a client is told of a grant that was waited for: "ok", or "acquired" for enqueue. It may have
   left unnoticed: then the grant passes on. */
void locks_tell_grant(struct call *c, enum reply word, const struct grant *g);

/* What it is told of any other verdict. */
void locks_answer(struct call *c, enum verdict v);

#endif
