/*
 * tests/net/pass_test.c - descriptors between processes: whole messages, none lost unnoticed.
 */
#include "net/pass.h"

#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int pair[2];

static void begin(void)
{
    if (pass_pair(pair) != 0)
        bail_out("pass_pair");
}

static void end(void)
{
    close(pair[0]);
    close(pair[1]);
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void test_messages(void)
{
    char buf[64];
    int pipe_fd[2], fd = 99;

    begin();
    ok((fcntl(pair[0], F_GETFD) & FD_CLOEXEC) && (fcntl(pair[1], F_GETFD) & FD_CLOEXEC),
       "both ends are close-on-exec");
    ok((fcntl(pair[0], F_GETFL) & O_NONBLOCK) && (fcntl(pair[1], F_GETFL) & O_NONBLOCK),
       "and non-blocking");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), -EAGAIN, "nothing there");
    is_int(fd, -1, "and no descriptor");
    is_int(pass_send(pair[0], "one", 3, -1), 0, "a message without a descriptor");
    is_int(pass_send(pair[0], "three", 5, -1), 0, "and another");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 3, "they arrive one by one");
    ok(memcmp(buf, "one", 3) == 0 && fd == -1, "as sent");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 5, "in order");

    if (pipe(pipe_fd) < 0)
        bail_out("pipe");
    is_int(pass_send(pair[0], "fd", 2, pipe_fd[0]), 0, "a message with a descriptor");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 2, "arrives");
    ok(fd > 2 && fd != pipe_fd[0] && same_file(fd, pipe_fd[0]), "with a duplicate");
    ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "that is close-on-exec");
    close(fd);
    is_int(pass_send(pair[1], "back", 4, pipe_fd[1]), 0, "the other way");
    is_int(pass_recv(pair[0], buf, sizeof(buf), &fd), 4, "too");
    ok(same_file(fd, pipe_fd[1]), "with its descriptor");
    close(fd);
    is_int(pass_send(pair[0], "x", 1, 1000000), -EBADF, "no such descriptor");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), -EAGAIN, "sends nothing");
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    end();
}

static void test_full(void)
{
    char msg[16] = "0123456789abcdef", buf[64];
    unsigned sent = 0, got = 0, in_order = 0;
    int fd, err;

    begin();
    while ((err = pass_send(pair[0], memcpy(msg, &sent, sizeof(sent)), sizeof(msg), -1)) == 0)
        if (++sent > 100000)
            break;
    is_int(err, -EAGAIN, "a full channel says so");
    ok(sent > 50, "it took %u messages", sent);
    while (pass_recv(pair[1], buf, sizeof(buf), &fd) == (ssize_t)sizeof(msg)) {
        in_order += memcmp(buf, &got, sizeof(got)) == 0;
        got++;
    }
    is_u64(got, sent, "all of them arrive, the one refused does not");
    is_u64(in_order, sent, "in order");
    is_int(pass_send(pair[0], msg, sizeof(msg), -1), 0, "then there is room");
    end();
}

static void test_end(void)
{
    char buf[64];
    int fd;

    begin();
    pass_send(pair[0], "last", 4, -1);
    close(pair[0]);
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 4, "the peer is gone: what it sent arrives");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 0, "then comes the end");
    is_int(pass_send(pair[1], "x", 1, -1), -EPIPE, "sending is an error, not a signal");
    close(pair[1]);
}

static void test_no_descriptor_left(void)
{
    char buf[64];
    struct rlimit old, none;
    int given, top, fd = 99;

    begin();
    given = open("/dev/null", O_RDONLY);
    is_int(pass_send(pair[0], "lost", 4, given), 0, "a descriptor is sent");
    is_int(pass_send(pair[0], "plain", 5, -1), 0, "and a message without one");
    is_int(pass_send(pair[0], "again", 5, given), 0, "and another descriptor");
    getrlimit(RLIMIT_NOFILE, &old);
    top = dup(given); /* the next free number: none is left from here on */
    none = (struct rlimit){.rlim_cur = (rlim_t)top, .rlim_max = old.rlim_max};
    close(top);
    setrlimit(RLIMIT_NOFILE, &none);
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), -EMFILE, "but none can be received");
    is_int(fd, -1, "and none is named");
    ok(memcmp(buf, "lost", 4) == 0, "the message says what is missing");
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 5, "the next message is whole");
    setrlimit(RLIMIT_NOFILE, &old);
    is_int(pass_recv(pair[1], buf, sizeof(buf), &fd), 5, "with descriptors to spare");
    ok(same_file(fd, given), "the next one arrives");
    close(fd);
    close(given);
    end();
}

int main(void)
{
    test_messages();
    test_full();
    test_end();
    test_no_descriptor_left();
    return done_testing();
}
