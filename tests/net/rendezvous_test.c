/*
 * tests/net/rendezvous_test.c - who calls at a rendezvous learns which process attends there.
 */
#include "net/rendezvous.h"

#include "tests/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* By a call that is not answered. */
static pid_t who(const char *dir)
{
    int fd = rendezvous_call(dir, 3);
    pid_t pid = fd < 0 ? fd : rendezvous_attendant(fd);

    if (fd >= 0)
        close(fd);
    return pid;
}

int main(void)
{
    char dir[] = "/tmp/rendezvous_test.XXXXXX", path[sizeof(dir) + 16], byte;
    int ready[2], listener, status, answered;
    pid_t child;

    if (!mkdtemp(dir) || pipe(ready) != 0)
        bail_out("mkdtemp, pipe");
    snprintf(path, sizeof(path), "%s/worker-3", dir);
    is_int(who(dir), -ENOENT, "nobody has been there");
    listener = rendezvous_open(dir, 3);
    ok(listener >= 0, "the rendezvous");
    is_int(who(dir), getpid(), "who made it attends until another process does");
    child = fork();
    if (child < 0)
        bail_out("fork");
    if (child == 0) {
        rendezvous_attend(listener);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        bail_out("read");
    is_int(who(dir), child, "the child does");
    for (answered = 0; rendezvous_answer(listener) >= 0; answered++)
        ;
    is_int(answered, 2, "no call was lost by that");
    close(listener);
    is_int(who(dir), child, "it alone");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    is_int(who(dir), -ECONNREFUSED, "and when it is dead, nobody");
    unlink(path);
    rmdir(dir);
    return done_testing();
}
