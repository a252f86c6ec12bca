/*
 * cli/link.h - the channel between the front and the guardian: small messages over a socket pair,
 * some with a descriptor.
 *
 * Both ends are close-on-exec and never block. What one end says while the other is stopped waits
 * for it; a few hundred messages fit.
 */
#ifndef CLI_LINK_H
#define CLI_LINK_H

#include <stdint.h>

enum link_kind {
    /* to the guardian */
    LINK_SIGNAL = 1, /* the signal `value` came to the front */
    LINK_CONTINUE,   /* the front goes on after it was stopped */
    /* to the front */
    LINK_READY,    /* name look-up, which may block, is over: signals will be heard */
    LINK_SOCKET,   /* a copy of the connection that holds the lock comes with it */
    LINK_STOPPED,  /* the signal `value` has stopped the command */
    LINK_TERMINAL, /* the signal `value`, typed at the terminal, has ended the command */
    LINK_DETACHED, /* exit with `value`; the guardian stays to keep the lock for --min-hold */
};

struct link_message {
    int32_t kind;
    int32_t value;
};

int link_pair(int fd[2]);

/* passed: a descriptor to go with it, or -1. 0 or -errno. */
int link_send(int fd, enum link_kind kind, int value, int passed);

/* 1 and *m; 0: nothing now; negative: the other end is gone. *passed: a descriptor that is now the
 * caller's, or -1. */
int link_receive(int fd, struct link_message *m, int *passed);

#endif
