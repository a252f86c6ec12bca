/*
 * supervisor/notify.h - what the master and its service manager say to each other (sd_notify(3),
 * sd_listen_fds(3)). The only user of libsystemd; without it, or without a manager that listens,
 * all of this does nothing.
 *
 * The master only. Sending may block while the manager's queue is full: a manager that reads nothing
 * any more has stopped the machine's services anyway.
 */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Whether there is a manager. */
bool notify_managed(void);

/* The names of what is stored. */
#define NOTIFY_REGION "region"
#define NOTIFY_DUMP "dump"
#define NOTIFY_LISTENER "own-listener" /* an address that the server bound itself */

/* Connections are accepted; again after a reload. */
void notify_ready(void);
/* A reload begins; notify_ready() ends it. */
void notify_reloading(void);
/* The drain begins. */
void notify_stopping(void);
/* From now on what was asked for (start, reload, stop) may take this much longer. */
void notify_extend(uint64_t ns);
/* One line for people: systemctl status shows it. */
void notify_status(const char *text);
/* The master lives. Expected every notify_watchdog() ns at least; 0: nobody waits for it. */
void notify_alive(void);
uint64_t notify_watchdog(void);

/*
 * Hands a duplicate of a descriptor to the manager, who gives it to the next program that it starts
 * for this service; a name may have several. Whether the manager keeps it cannot be known
 * (FileDescriptorStoreMax=). notify_unstore() makes it forget all of a
 * name.
 */
void notify_store(const char *name, int fd);
void notify_unstore(const char *name);

/* Waits until the manager has done what it was told so far; a second at most. */
void notify_barrier(void);

/*
 * Calls `each` for every descriptor that was passed to this program: those of socket units by their
 * FileDescriptorName=, those of notify_store() by their name. They are `each`'s to close. Ends at the
 * first negative result and returns it; 0 when all were taken, or there were none. -ENOTSUP: some
 * were passed, and this build cannot take them. Once, before other threads and children.
 */
int notify_inherited(int (*each)(void *ctx, const char *name, int fd), void *ctx);

#endif
