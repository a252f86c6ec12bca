/*
 * worker/sandbox.c - see sandbox.h.
 *
 * A call that is not in the table fails with ENOSYS, as on a kernel that does not have it. In the
 * tests' program it kills, so that what is missing here is found.
 */
#include "worker/sandbox.h"

#include "base/confine.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define OPTION(level, name) {"setsockopt", {CONFINE_IS(2, (level)), CONFINE_IS(3, (name))}}

static const struct confine_call allowed[] = {
    /* connections: as they come by the channel, to their end */
    {.name = "accept4"}, /* on a listener that was inherited */
    {.name = "close"},
    {.name = "getsockopt"},
    {"ioctl", {CONFINE_IS(2, SIOCINQ)}},
    {"ioctl", {CONFINE_IS(2, SIOCOUTQ)}},
    {.name = "read"},
    {.name = "recvfrom"},
    {.name = "recvmsg"},
    {.name = "sendmsg"},
    {.name = "sendto"},
    OPTION(IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_OOBINLINE),
    {.name = "shutdown"},
    /* the loop */
    {.name = "epoll_ctl"},
    {.name = "epoll_pwait2"},
    /* documents, and what else comes as a file in memory */
    {"fcntl", {CONFINE_IS(2, F_GET_SEALS)}},
    {.name = "fstat"},
    {.name = "ftruncate"},
    {.name = "lseek"},
    {.name = "newfstatat"}, /* glibc's fstat(); it could look at names, not open them */
    {.name = "pread64"},
    {.name = "pwrite64"},
};

/* What passes, as opposed to what this kernel does not have: the next worker will try again. */
static bool will_pass(int err)
{
    return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EAGAIN;
}

int sandbox_start(void)
{
    return confine_paths();
}

int sandbox_seal(int landlock)
{
    int seccomp = confine_calls(allowed, sizeof(allowed) / sizeof(allowed[0]));

    if (will_pass(landlock) || will_pass(seccomp))
        return will_pass(landlock) ? landlock : seccomp;
    if (landlock > 0 && seccomp == 0)
        log_debug("sandboxed", log_int("landlock", landlock), log_str("seccomp", "on"));
    else
        log_info("the sandbox is not complete here",
                 log_str("landlock", landlock > 0 ? "on" : err_text(landlock)),
                 log_str("seccomp", seccomp == 0 ? "on" : err_text(seccomp)));
    return 0;
}
