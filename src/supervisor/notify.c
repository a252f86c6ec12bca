/*
 * supervisor/notify.c - see notify.h.
 *
 * Errors of sending are ignored: there is nobody else to tell, and the manager finds out by itself
 * what it was not told.
 */
#include "supervisor/notify.h"

#include "base/clock.h"
#include "base/point.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum { FIRST_FD = 3 }; /* of those passed: part of the protocol */

#define BARRIER_USEC UINT64_C(1000000)

#ifndef HAVE_LIBSYSTEMD

/* Of sd-daemon.h what is used below, for a build without it: nobody listens. */
static int sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n)
{
    return pid || unset || !state || !fds || !n ? 0 : -ENOTSUP;
}

static int sd_notify(int unset, const char *state)
{
    return unset || !state ? 0 : -ENOTSUP;
}

static int sd_notify_barrier(int unset, uint64_t usec)
{
    return unset || !usec ? 0 : -ENOTSUP;
}

static int sd_watchdog_enabled(int unset, uint64_t *usec)
{
    return unset || !usec ? 0 : -ENOTSUP;
}

/* To bind the same addresses beside the manager, who has them already, would only fail later. */
static int sd_listen_fds_with_names(int unset, char ***names)
{
    const char *pid = getenv("LISTEN_PID");

    return !unset || !names || !pid || strtol(pid, NULL, 10) != getpid() ? 0 : -ENOTSUP;
}

#endif

bool notify_managed(void)
{
#ifdef HAVE_LIBSYSTEMD
    return getenv("NOTIFY_SOCKET") != NULL;
#else
    return false;
#endif
}

static void say(const char *lines)
{
    SYS(NOTIFY, sd_notify(false, lines));
}

void notify_ready(void)
{
    say("READY=1");
}

void notify_reloading(void)
{
    char lines[64];

    snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_monotonic_ns() / NS_PER_US);
    say(lines);
}

void notify_stopping(void)
{
    say("STOPPING=1");
}

void notify_extend(uint64_t ns)
{
    char lines[64];

    snprintf(lines, sizeof(lines), "EXTEND_TIMEOUT_USEC=%" PRIu64, ns / NS_PER_US);
    say(lines);
}

void notify_status(const char *text)
{
    char lines[256];

    snprintf(lines, sizeof(lines), "STATUS=%s", text);
    say(lines);
}

void notify_alive(void)
{
    say("WATCHDOG=1");
}

uint64_t notify_watchdog(void)
{
    uint64_t usec = 0;

    return sd_watchdog_enabled(false, &usec) > 0 ? usec * NS_PER_US : 0;
}

void notify_store(const char *name, int fd)
{
    char lines[128];

    /* FDPOLL=0: else the manager drops what looks hung up to it. */
    snprintf(lines, sizeof(lines), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    SYS(NOTIFY_STORE, sd_pid_notify_with_fds(0, false, lines, &fd, 1));
}

void notify_unstore(const char *name)
{
    char lines[128];

    snprintf(lines, sizeof(lines), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    say(lines);
}

void notify_barrier(void)
{
    SYS(NOTIFY_BARRIER, sd_notify_barrier(false, BARRIER_USEC));
}

int notify_inherited(int (*each)(void *ctx, const char *name, int fd), void *ctx)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(true, &names);
    int err = n < 0 ? n : 0;

    for (int i = 0; i < n; i++) {
        if (!err)
            err = each(ctx, names[i], FIRST_FD + i);
        free(names[i]);
    }
    free(names);
    return err;
}
