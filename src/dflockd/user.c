/*
 * dflockd/user.c - see user.h. Runs in the master, which has no thread yet: user, groups and
 * capabilities are a thread's own.
 *
 * What is given up here is inherited and cannot be had again: not by a worker, not by the program
 * that an upgrade executes. A server that stays root keeps its number, and so the files that are
 * root's, and nothing of its power.
 */
#include "dflockd/user.h"

#include "config/exitcode.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int user_identity(const struct settings *s, struct identity *id)
{
    const struct passwd *pw = NULL;
    const struct group *gr = NULL;

    if (s->user[0] && !(pw = getpwnam(s->user))) {
        fprintf(stderr, "dflockd: --user: there is no user '%s'\n", s->user);
        return EXITCODE_CONFIG;
    }
    if (s->group[0] && !(gr = getgrnam(s->group))) {
        fprintf(stderr, "dflockd: --group: there is no group '%s'\n", s->group);
        return EXITCODE_CONFIG;
    }
    id->name = pw ? s->user : gr ? s->group : NULL;
    id->user = pw ? s->user : NULL;
    id->uid = pw ? pw->pw_uid : geteuid();
    id->gid = gr ? gr->gr_gid : pw ? pw->pw_gid : getegid();
    if (geteuid() != 0 && (id->uid != geteuid() || id->gid != getegid())) {
        fprintf(stderr, "dflockd: cannot become %s: only root may change user or group\n", id->name);
        return EXITCODE_FAIL;
    }
    return EXITCODE_OK;
}

/* Nothing of who started us is left: real, effective and saved, and no way back to root. */
static bool is(const struct identity *id)
{
    uid_t uid[3];
    gid_t gid[3];

    if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (uid[i] != id->uid || gid[i] != id->gid)
            return false;
    return id->uid == 0 || (setuid(0) < 0 && seteuid(0) < 0 && setresuid(0, 0, 0) < 0);
}

static int become(const struct identity *id, const char *socket)
{
    bool root = geteuid() == 0;

    /* Not through a symbolic link that somebody has put there meanwhile. */
    if ((socket[0] && lchown(socket, id->uid, id->gid) < 0) ||
        (root && id->user && initgroups(id->user, id->gid) < 0) ||
        (root && !id->user && setgroups(1, &id->gid) < 0) ||
        setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0) {
        fprintf(stderr, "dflockd: cannot become %s: %s\n", id->name, strerror(errno));
        return EXITCODE_FAIL;
    }
    if (!is(id)) {
        fprintf(stderr, "dflockd: cannot become %s: the way back to root stays open\n", id->name);
        return EXITCODE_FAIL;
    }
    return EXITCODE_OK;
}

/* From the bounding set first: that needs a capability itself, and without one nothing can be
   gained by it, as there are no new privileges. */
static int give_up_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    memset(none, 0, sizeof(none));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
        syscall(SYS_capset, &header, none) == 0)
        return EXITCODE_OK;
    fprintf(stderr, "dflockd: cannot give up the capabilities: %s\n", strerror(errno));
    return EXITCODE_FAIL;
}

int user_become(const struct identity *id, const char *socket)
{
    int status = EXITCODE_OK;

    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
    if (id->name)
        status = become(id, socket);
    return status == EXITCODE_OK ? give_up_capabilities() : status;
}
