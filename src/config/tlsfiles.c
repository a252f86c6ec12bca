/*
 * config/tlsfiles.c - see tlsfiles.h.
 */
#include "config/tlsfiles.h"

#include "base/err.h"
#include "base/io.h"
#include "config/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_file(const struct settings *s, enum option_id id, const char *path, char *bytes,
                      uint32_t size, uint32_t *n, struct config_report *report)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -errno : io_read_full(fd, bytes, size);
    struct stat st;

    if (got < 0)
        report_unreadable(report, config_origin(s, id), path, (int)got);
    else if (got == 0)
        report_error(report, "%s: %s: is empty", config_origin(s, id), path);
    else
        *n = (uint32_t)got;
    if (id == OPTION_tls_key && got > 0 && fstat(fd, &st) == 0 && st.st_mode & S_IROTH)
        report_warn(report, "%s: %s: everybody on this machine may read it (chmod o= %s)",
                    config_origin(s, id), path, path);
    if (fd >= 0)
        close(fd);
}

int tlsfiles_load(const struct settings *s, struct tls_files *files, struct config_report *report)
{
    unsigned before = report->errors.count;

    tlsfiles_wipe(files);
    if (s->tls_cert[0])
        read_file(s, OPTION_tls_cert, s->tls_cert, files->cert, sizeof(files->cert),
                  &files->cert_n, report);
    if (s->tls_key[0])
        read_file(s, OPTION_tls_key, s->tls_key, files->key, sizeof(files->key), &files->key_n,
                  report);
    if (s->tls_client_ca[0])
        read_file(s, OPTION_tls_client_ca, s->tls_client_ca, files->client_ca,
                  sizeof(files->client_ca), &files->client_ca_n, report);
    if (report->errors.count == before)
        return 0;
    tlsfiles_wipe(files);
    return ERR_CONFIG;
}

void tlsfiles_wipe(struct tls_files *files)
{
    explicit_bzero(files->key, sizeof(files->key));
    files->cert_n = files->key_n = files->client_ca_n = 0;
}
