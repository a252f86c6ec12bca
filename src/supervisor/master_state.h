/*
 * supervisor/master_state.h - what the files of the master share: master (the loop), accept (new
 * connections), bury (deaths). Private to supervisor/.
 */
#ifndef SUPERVISOR_MASTER_STATE_H
#define SUPERVISOR_MASTER_STATE_H

#include "config/settings.h"
#include "supervisor/child.h"
#include "supervisor/keeper.h"
#include "supervisor/master.h"
#include "supervisor/policy.h"
#include "supervisor/reload.h"
#include "supervisor/strangers.h"
#include "supervisor/upgrade.h"

enum stage {
    STAGE_SERVING,
    STAGE_QUIET, /* the workers leave or have left, for an upgrade; connections stay */
    STAGE_DRAINING,
    STAGE_STOPPING,
};

struct master {
    const struct master_args *args;
    const struct settings *settings;
    struct birth birth;
    struct region *r;
    struct keeper keeper;
    struct strangers strangers;
    struct child child[WORKER_MAX];
    uint32_t nworkers; /* that serve: slots below it */
    uint32_t nslots;   /* not less: those above are surplus, until their connections have gone */
    uint64_t left;     /* slots whose worker has gone for good and has buffers in use still */
    struct reload reload;
    enum stage stage;
    enum stopping stopping; /* the master's copy of the region's word */
    struct upgrade upgrade;
    bool replacing; /* old workers are being replaced, one after another */
    int quit;       /* the signal to end that came while it was quiet; 0 = none */
    uint64_t now;
    uint64_t deadline;  /* of the drain, or of stopping */
    uint64_t next_tick;
    uint64_t starved; /* when the machine was last found to have been */
    uint64_t accept_again; /* the listeners are off until then; 0 = on */
    bool accept_room;      /* … for want of room for strangers: sooner when there is some */
    uint32_t accept_pause; /* ms, grows with errors in a row */
    uint32_t *unsent;      /* ring of slots whose message found the channel full */
    uint32_t unsent_head, unsent_n;
    int epfd, sigfd;
    int spare; /* a descriptor in reserve: see accept.c */
    int status;
    uint64_t deaths[DEATH_KINDS];
    struct {
        uint64_t watchdog; /* ns between two signs of life; 0 = nobody waits for them */
        uint64_t alive;    /* when the next one is due */
        uint64_t next;     /* when anything else may be said */
        char status[128];  /* said last */
    } told;                /* tell.c: to the service manager */
};

/* accept.c */
void accept_start(struct master *m);  /* listeners into the epoll set */
void accept_stop(struct master *m);
void accept_ready(struct master *m, const struct listener *l);
void accept_turn(struct master *m); /* what was put off */
void accept_room(struct master *m); /* connections have gone: somebody may have waited for that */
void accept_returned(struct master *m, uint32_t slot); /* handed over again, if its worker gave it back */
void accept_resend(struct master *m, uint32_t worker); /* its successor adopts them: forget them */


/* resize.c */
void resize(struct master *m, uint32_t nworkers);
void resize_turn(struct master *m); /* surplus workers that have nothing left go */
void resize_start(struct master *m); /* once: the first workers */
bool resize_left(struct master *m, struct child *c); /* one has gone; false: its heir is needed */
void resize_tell(struct master *m); /* the region says how many there are */
void resize_vacate(struct master *m, struct child *c); /* nobody will have its slot for now */

/* httpworker.c */
void httpworker_turn(struct master *m); /* it is there when it is needed */
bool httpworker_has(const struct master *m, uint32_t slot); /* this slot is its own */
bool httpworker_left(struct master *m, struct child *c); /* it is not needed; false: or it is not it */
/* tell.c */
void tell_ready(struct master *m); /* connections are accepted */
void tell_drain(struct master *m);
void tell_stop(struct master *m); /* for a restart: what is stored stays */
void tell_tick(struct master *m);
void tell_reloading(struct master *m);
void tell_reloaded(struct master *m, bool good, const char *what);

/* watchdog.c; `late`: how late this tick is, ns */
void watchdog(struct master *m, uint64_t late);

/* bury.c */
void bury_dead(struct master *m); /* reaps, repairs, decides when the next one starts */
void bury_adopted(struct master *m, struct child *c); /* one that an earlier master started */
void bury_unknown(struct master *m, struct child *c); /* one that was gone when this master came */

/* master.c */
void master_start_worker(struct master *m, uint32_t worker); /* unless there is one */
void master_quiesce(struct master *m); /* all workers leave, nobody takes over */
bool master_is_quiet(const struct master *m);
void master_serve_again(struct master *m);
void master_replace(struct master *m, uint32_t worker); /* it leaves, an heir takes over */
/* Its channel, and the pidfd that it may have; what cannot be watched is tried again in each tick. */
void master_watch(struct master *m, struct child *c);
void master_kill(struct master *m, uint32_t worker); /* it does not answer; then as master_replace() */

/* inherit.c */
void inherit(struct master *m, const struct legacy *l);

#endif
