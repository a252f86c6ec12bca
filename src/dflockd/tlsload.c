/*
 * dflockd/tlsload.c - see tlsload.h.
 */
#include "dflockd/tlsload.h"

#include "config/validate.h"
#include "supervisor/tlscheck.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void tlsload(const struct settings *s, struct tls_files *files, struct config_report *report)
{
    struct config_report *shared;
    int status = -1;
    pid_t pid;

    /* Not in a core dump either. */
    madvise(files, sizeof(*files), MADV_DONTDUMP);
    if (tlsfiles_load(s, files, report) != 0 || files->cert_n == 0)
        return;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid = shared == MAP_FAILED ? -1 : fork();
    if (pid == 0) {
        *shared = *report;
        tlscheck(s, files, shared);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid < 0 || status != 0)
        report_error(report, "%s: %s: cannot be checked: %s", config_origin(s, OPTION_tls_cert),
                     s->tls_cert, pid < 0 ? strerror(errno) : "the process that does it has crashed");
    else
        *report = *shared;
    if (shared != MAP_FAILED)
        munmap(shared, sizeof(*shared));
}
