/*
 * dflockd/user.h - who the server is, and what it may do, from its start on.
 */
#ifndef DFLOCKD_USER_H
#define DFLOCKD_USER_H

#include "config/settings.h"

#include <sys/types.h>

struct identity {
    const char *name; /* what was asked for, --user or --group; NULL = to stay who we are */
    const char *user; /* whose supplementary groups count; NULL = none do */
    uid_t uid;
    gid_t gid;
};

/* Whom the server will run as. EXITCODE_OK, or what to end with; then standard error says why. */
int user_identity(const struct settings *s, struct identity *id);

/*
 * Becomes that, and gives up every capability, of every process to come too. After the addresses
 * are bound, before the first fork. `socket` ("" = none) is given to the same user. Returns as
 * above.
 */
int user_become(const struct identity *id, const char *socket);

#endif
