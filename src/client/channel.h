/*
 * client/channel.h - one connection to a server, which never blocks: connects, TLS, authenticates,
 * then sends requests and takes the replies in their order. conn.c (low level) and lock.c (high level)
 * are built on it; both wait with poll() where they may block.
 *
 * One thread at a time; whoever owns it locks. The system calls that touch a socket are made in
 * reach.c.
 */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include "client/addr.h"
#include "client/options.h"
#include "client/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct channel;

/* Not connected. The options are not copied and must outlive it. NULL without memory. */
struct channel *channel_new(const struct dflock_options *o);
void channel_free(struct channel *c); /* closes; NULL is ignored */

/*
 * Begins to connect; addresses are tried in turn until the options' connect timeout from `now`
 * (clock_boottime_ns(), as everywhere here) has passed. With a secret in the options it authenticates
 * as part of this. Requests may be queued at once; they are sent when that is done. `name` and `to`
 * must outlive the connection. What was there before is dropped. Does not fail: channel_process()
 * says so.
 */
void channel_dial(struct channel *c, const struct addr *name, const struct addr_list *to,
                  uint64_t now);

/* Queues a request, see wire_request(). 0, DFLOCK_ERR_INVALID, or _SYSTEM (no memory). Nothing is sent
   before channel_process(). */
int channel_request(struct channel *c, const char *command, const char *key, const char *arg);

/* The same for a secret, which may be longer than the lines of other requests. */
int channel_authenticate(struct channel *c, const char *secret);

/* Sends and receives what it can. 0, or the error by which the connection has ended, from then on
   each time; what had been received before can still be taken. */
int channel_process(struct channel *c, uint64_t now);

/* True and *reply, if the next one has come. Its text is valid until the next channel_process(). */
bool channel_reply(struct channel *c, struct dflock_reply *reply);

/* Requests whose replies have not been taken. */
size_t channel_outstanding(const struct channel *c);

/* Connected, with TLS and authentication. */
bool channel_is_ready(const struct channel *c);

/* Why it has ended, code 0 if it has not. */
const struct failure *channel_failure(const struct channel *c);

int channel_fd(const struct channel *c); /* -1: none */
short channel_events(const struct channel *c);
/* When channel_process() must be called at the latest, by the deadline of connecting; UINT64_MAX:
   never. Deadlines of replies are the caller's. */
uint64_t channel_deadline(const struct channel *c);

/* Closes the socket; requests and replies are dropped. May be dialled again. */
void channel_close(struct channel *c);

#endif
