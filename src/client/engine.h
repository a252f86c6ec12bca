/*
 * client/engine.h - the library's thread: runs what held locks need, when its time has come or
 * their connection stirs.
 *
 * A watch is one lock's place in it. There is one engine a process, made with the first watch that
 * is armed; its thread starts when one is armed, ends when none has been for a while, and all is
 * gone when the last watch leaves. After fork() a child begins with none.
 *
 * Lock order: whoever owns a watch may hold its own lock while it calls here (engine_leave()
 * excepted); run() is called with nothing locked. run() must not block: all others wait meanwhile.
 */
#ifndef CLIENT_ENGINE_H
#define CLIENT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch {
    void (*run)(struct watch *w);
    /* The engine's. */
    bool member;
    uint32_t slot;
    size_t place; /* in the heap */
    uint64_t at;
    /* Under its owner's lock: what the engine has been told. */
    uint64_t promised; /* run() will be called at this time or earlier; UINT64_MAX: not at all */
    int fd;
    unsigned serial;
    uint32_t events;
};

void engine_watch_init(struct watch *w, void (*run)(struct watch *w));

/* run() at this time (clock_boottime_ns()) or earlier, once. 0 or -errno: no memory, descriptor or
   thread for it. When the engine has promised so already this is one comparison. */
int engine_arm(struct watch *w, uint64_t at);

/* To be called first by each run(): its promise is kept. */
void engine_ran(struct watch *w);

/* run() also when the peer of this socket ends the connection, and, with `events` (POLLIN,
   POLLOUT), when there is more. `serial` tells connections with the same descriptor apart; fd -1:
   none. Until it is connected (`settled`) the socket behind the number may change. Only once armed.
 */
void engine_listen(struct watch *w, int fd, unsigned serial, bool settled, short events);

/* No run() from here on; waits for one that is under way. Nothing may be locked that run() takes.
 */
void engine_leave(struct watch *w);

#endif
