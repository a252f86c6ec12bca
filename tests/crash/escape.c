/*
 * tests/crash/escape.c - what a worker that was taken over by its attacker would try. A request for
 * the poison of POINT_ESCAPE makes the tests' program do it: what each call said goes into the board.
 * Under the filter a call that succeeds is the end of the worker or of the server, and so of the test.
 * Without it, on a kernel that may have no Landlock either, the worst is only hinted at.
 */
#include "base/point.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct diary {
    char text[1020];
    size_t used;
};

static void note(struct diary *d, const char *what, long result)
{
    int err = result < 0 ? errno : 0;
    int n = snprintf(d->text + d->used, sizeof(d->text) - d->used, "%s %d\n", what, err);

    if (n > 0 && d->used + (size_t)n < sizeof(d->text))
        d->used += (size_t)n;
}

static int made_socket(void)
{
    return (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void try_paths(struct diary *d, bool filtered)
{
    static const char made[] = "/tmp/dflockd-escaped";
    static char *const none[] = {NULL};

    note(d, "open", syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY));
    note(d, "create", syscall(SYS_openat, AT_FDCWD, made, O_WRONLY | O_CREAT, 0600));
    note(d, "mkdir", syscall(SYS_mkdirat, AT_FDCWD, made, 0700));
    note(d, "execve", syscall(SYS_execve, filtered ? "/bin/true" : "/etc/passwd", none,
                              none));
}

static void try_network(struct diary *d)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sock_filter accept = {.code = BPF_RET | BPF_K, .k = UINT32_MAX};
    struct sock_fprog program = {.len = 1, .filter = &accept};
    int fd = made_socket();

    note(d, "socket", fd);
    note(d, "bind", syscall(SYS_bind, fd, &any, sizeof(any)));
    any.sin_port = htons(9);
    note(d, "connect", syscall(SYS_connect, fd, &any, sizeof(any)));
    note(d, "attach_filter", syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                                     sizeof(program)));
    note(d, "tiocsti", syscall(SYS_ioctl, 0, TIOCSTI, "x"));
    if (fd >= 0)
        close(fd);
}

static void try_processes(struct diary *d, bool filtered)
{
    pid_t master = getppid();
    int sig = filtered ? SIGKILL : 0; /* 0 asks whether one might */
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0)
        _exit(0);
    note(d, "fork", pid);
    note(d, "ptrace", syscall(SYS_ptrace, PTRACE_SEIZE, master, NULL, NULL));
    note(d, "kill", syscall(SYS_kill, master, sig));
    note(d, "tgkill", syscall(SYS_tgkill, master, master, sig));
    note(d, "pidfd_open", syscall(SYS_pidfd_open, master, 0));
}

static void try_privileges(struct diary *d)
{
    note(d, "setuid", syscall(SYS_setresuid, 1, 1, 1));
    note(d, "setgroups", syscall(SYS_setgroups, 0, NULL));
    note(d, "mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL));
    note(d, "sethostname", syscall(SYS_sethostname, "escaped", 7));
    note(d, "prctl", syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static void try_memory(struct diary *d)
{
    long size = sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    note(d, "data", page == MAP_FAILED ? -1 : 0);
    note(d, "mprotect_exec", syscall(SYS_mprotect, page, size, PROT_READ | PROT_EXEC));
    munmap(page, (size_t)size);
    note(d, "mmap_exec", syscall(SYS_mmap, NULL, size, PROT_READ | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    note(d, "memfd_create", syscall(SYS_memfd_create, "escaped", 0));
    note(d, "io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
}

void point_escape(struct point_board *board)
{
    bool filtered = board->denied == POINT_DENIED_FAILS;
    struct diary d = {.used = 0};
    char first;

    try_paths(&d, filtered);
    try_network(&d);
    try_processes(&d, filtered);
    try_privileges(&d);
    try_memory(&d);
    first = d.text[0];
    memcpy(board->escaped + 1, d.text + 1, sizeof(d.text) - 1);
    __atomic_store_n(&board->escaped[0], first, __ATOMIC_RELEASE);
}
