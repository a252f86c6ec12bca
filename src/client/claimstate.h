/*
 * client/claimstate.h - the states of a claim, each in a file of its own, and what they have in
 * common. Private to claim.c, claimlink.c, asking.c, holding.c, releasing.c.
 */
#ifndef CLIENT_CLAIMSTATE_H
#define CLIENT_CLAIMSTATE_H

#include "client/claim.h"

#define NEVER UINT64_MAX

/* The first pause before another attempt; longer each time. */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
/* How often to renew while the server may find out about something that ends it. */
#define SUSPECT_RENEW_NS NS_PER_SEC

/* What a state does with a reply, with the end of the connection, when its time has come; and when
   that is. */
struct claim_behaviour {
    void (*reply)(struct claim *c, const struct claim_request *q, const struct dflock_reply *r,
                  uint64_t now);
    void (*cut)(struct claim *c, const struct failure *f, uint64_t now);
    void (*tick)(struct claim *c, uint64_t now);
    uint64_t (*due)(const struct claim *c);
};

extern const struct claim_behaviour claim_asking, claim_holding, claim_releasing;

/* ---- asking.c, holding.c, releasing.c: how they begin ---- */

/* The request is on its way from now on. */
void asking_sent(struct claim *c, uint64_t now);
/* The lease runs since `begin`. */
void holding_begin(struct claim *c, uint64_t begin, uint64_t now);
/* The call under way ends when it is renewed. */
void holding_renew_for_call(struct claim *c, uint64_t now);
/* The lease has ended. */
void holding_expire(struct claim *c, uint64_t now);
/* giving_back: c->why is what the call comes to afterwards. */
void releasing_begin(struct claim *c, bool giving_back, uint64_t now);

/* ---- claimlink.c ---- */

/* Sums that end at NEVER; seconds of the options; the lesser. */
uint64_t claim_after(uint64_t start, uint64_t ns);
uint64_t claim_ns(double seconds);
uint64_t claim_least(uint64_t a, uint64_t b);

/* The call under way comes to this. */
void claim_finish(struct claim *c, int result);
void claim_fail(struct claim *c, const struct failure *f);

/* Words for what is wrong with this key at this server; a reply; memory. */
void claim_blame(const struct claim *c, struct failure *f, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void claim_said(const struct claim *c, struct failure *f, const struct dflock_reply *r);
void claim_no_memory(struct claim *c, struct failure *f);

/* A request over the connection that there is, or a new one. 0 or DFLOCK_ERR_SYSTEM. */
int claim_send(struct claim *c, enum claim_ask what, uint64_t now);
void claim_hang_up(struct claim *c);

#endif
