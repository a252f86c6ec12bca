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

/* What a client is told of a grant: "ok", or "acquired" for enqueue. */
void locks_answer_grant(struct call *c, enum reply word, const struct grant *g);

/* What it is told of any other verdict. */
void locks_answer(struct call *c, enum verdict v);

/* Nobody hears of this grant any more: it passes on. */
void locks_give_back(struct call *c, const struct grant *g);

#endif
