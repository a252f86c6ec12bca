/*
 * tests/base/io_test.c - descriptor helpers: flags, whole reads and writes, closing all but a few.
 */
#include "base/io.h"

#include "base/random.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_flags(void)
{
    int fds[2];

    if (pipe(fds) < 0)
        bail_out("pipe: %s", strerror(errno));
    is_int(io_set_nonblock(fds[0], true), 0, "nonblock on");
    ok(fcntl(fds[0], F_GETFL) & O_NONBLOCK, "is on");
    is_int(io_set_nonblock(fds[0], false), 0, "nonblock off");
    ok(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK), "is off");
    is_int(io_set_cloexec(fds[0], true), 0, "cloexec on");
    ok(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, "is on");
    is_int(io_set_cloexec(fds[0], false), 0, "cloexec off");
    ok(!(fcntl(fds[0], F_GETFD) & FD_CLOEXEC), "is off");
    close(fds[0]);
    close(fds[1]);
    is_int(io_set_nonblock(fds[0], true), -EBADF, "a closed descriptor is an error");
    is_int(io_set_cloexec(-1, true), -EBADF, "so is -1");
}

/* The exit status; a signal's number, negative, if one ended it. */
static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            bail_out("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void do_nothing(int sig)
{
    (void)sig;
}

/* A pipe that is much smaller than the data, a slow reader, and signals that interrupt the write.
 */
static void test_write_full(void)
{
    enum { SIZE = 300000 };
    struct sigaction act = {.sa_handler = do_nothing};
    static unsigned char data[SIZE], back[SIZE];
    int fds[2];
    pid_t pid;

    for (int i = 0; i < SIZE; i++)
        data[i] = (unsigned char)(i * 31 + i / 251);
    sigaction(SIGUSR1, &act, NULL);
    if (pipe(fds) < 0 || (pid = fork()) < 0)
        bail_out("pipe or fork: %s", strerror(errno));
    if (pid == 0) {
        ssize_t n;

        alarm(30);
        close(fds[1]);
        /* The first cuts the write short; the pipe is full then, so the others interrupt the next
         * one before it has written anything. */
        for (int i = 0; i < 50; i++) {
            kill(getppid(), SIGUSR1);
            usleep(1000);
        }
        for (size_t used = 0; used < SIZE; used += (size_t)n) {
            kill(getppid(), SIGUSR1);
            n = read(fds[0], back + used, 5000 < SIZE - used ? 5000 : SIZE - used);
            if (n <= 0)
                _exit(2);
        }
        _exit(memcmp(data, back, SIZE) != 0);
    }
    close(fds[0]);
    is_int(io_write_full(fds[1], data, SIZE), 0, "writes all of it");
    is_int(wait_for(pid), 0, "and the reader gets all of it in order");

    signal(SIGPIPE, SIG_IGN);
    is_int(io_write_full(fds[1], "x", 1), -EPIPE, "an error is returned");
    close(fds[1]);
}

static void test_read_file(void)
{
    char path[] = "/tmp/dflockd-io-test-XXXXXX";
    int fd = mkstemp(path), fds[2];
    char buf[8];

    if (fd < 0)
        bail_out("mkstemp: %s", strerror(errno));
    is_int(io_read_file(path, buf, sizeof(buf)), 0, "an empty file");
    is_int(io_write_full(fd, "12345678", 8), 0, "eight bytes");
    memset(buf, 0, sizeof(buf));
    is_int(io_read_file(path, buf, sizeof(buf)), 8, "a file that fits exactly");
    ok(memcmp(buf, "12345678", 8) == 0, "its bytes");
    is_int(io_read_file(path, buf, 7), -EFBIG, "one byte more than the buffer");
    is_int(io_read_file(path, buf, 0), -EFBIG, "a buffer of nothing");
    close(fd);
    unlink(path);
    is_int(io_read_file(path, buf, sizeof(buf)), -ENOENT, "no such file");
    is_int(io_read_file("/", buf, sizeof(buf)), -EISDIR, "a directory");
    is_int(io_read_full(-1, buf, sizeof(buf)), -EBADF, "no descriptor");

    if (pipe(fds) < 0 || write(fds[1], "abc", 3) != 3)
        bail_out("pipe: %s", strerror(errno));
    close(fds[1]);
    is_int(io_read_full(fds[0], buf, sizeof(buf)), 3, "a pipe, to its end");
    close(fds[0]);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* As an old kernel or an old container profile: close_range() fails with that error. */
static void forbid_close_range(int error)
{
#ifdef SYS_close_range
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 ||
        syscall(SYS_close_range, 1, 0, 0) == 0 || errno != error)
        _exit(100);
#else
    (void)error;
#endif
}

/* In a child: opens 0…199, closes all but `keep`, exits 0 if exactly those are left. */
static int close_all_but(const int *keep, size_t n, int forbid)
{
    pid_t pid = fork();

    if (pid < 0)
        bail_out("fork: %s", strerror(errno));
    if (pid == 0) {
        alarm(30);
        for (int fd = 0; fd < 200; fd++)
            if (!is_open(fd) && dup2(STDIN_FILENO, fd) < 0)
                _exit(101);
        if (forbid != 0)
            forbid_close_range(forbid);
        if (io_close_all_but(keep, n) != 0)
            _exit(102);
        for (int fd = 0; fd < 1024; fd++) {
            bool want = false;

            for (size_t i = 0; i < n; i++)
                want = want || (keep[i] == fd && fd < 200);
            if (is_open(fd) != want)
                _exit(103);
        }
        _exit(0);
    }
    return wait_for(pid);
}

static void test_close_all_but(void)
{
    static const int errors[] = {0, ENOSYS, EPERM};
    static const int usual[] = {0, 1, 2, 7, 8, 100, 199};
    static const int some[] = {3, 3, 50};
    static const int absent[] = {4, 700};
    static const int unsorted[] = {5, 4};
    static const int negative[] = {-1, 4};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        const char *how = errors[i] == 0 ? "close_range()" : strerror(errors[i]);

        is_int(close_all_but(usual, 7, errors[i]), 0, "%s: keeps what is named", how);
        is_int(close_all_but(some, 3, errors[i]), 0, "%s: twice named, stdio closed", how);
        is_int(close_all_but(absent, 2, errors[i]), 0, "%s: one that is not open", how);
        is_int(close_all_but(NULL, 0, errors[i]), 0, "%s: closes everything", how);
    }
    is_int(io_close_all_but(unsorted, 2), -EINVAL, "an unsorted list is refused");
    is_int(io_close_all_but(negative, 2), -EINVAL, "so is a negative number");
    ok(is_open(0) && is_open(1) && is_open(2), "and nothing was closed");
}

static void test_random(void)
{
    enum { SIZE = 5000 }; /* more than the 256 bytes that getrandom() gives without a break */
    static unsigned char a[SIZE + 1], b[SIZE + 1];
    unsigned zeros = 0;

    is_int(random_bytes(a, SIZE), 0, "random bytes");
    is_int(random_bytes(b, SIZE), 0, "and others");
    ok(memcmp(a, b, SIZE) != 0, "which differ");
    is_int(a[SIZE], 0, "nothing is written behind the end");
    for (int i = SIZE - 64; i < SIZE; i++)
        zeros += a[i] == 0;
    ok(zeros < 64, "the end is filled too");
    is_int(random_bytes(NULL, 0), 0, "none at all");
}

int main(void)
{
    test_flags();
    test_write_full();
    test_read_file();
    test_close_all_but();
    test_random();
    return done_testing();
}
