/*
 * dflockd/user.h - who the server is, and what it may do, from its start on.
 */
#ifndef DFLOCKD_USER_H
#define DFLOCKD_USER_H

#include "config/settings.h"
#include "net/listen.h"

/*
 * Becomes --user and --group, and gives up every capability, of every process to come too. After
 * the addresses are bound, before the first fork. EXITCODE_OK, or what to end with; then standard
 * error says why.
 */
int user_become(const struct settings *s, const struct listen_set *set);

#endif
