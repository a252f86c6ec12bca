/*
 * client/options.c - see options.h, and dflock.h for what each option means.
 */
#include "client/options.h"
#include "client/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dflock_options defaults = {
    .shard = dflock_shard_crc32,
    .acquire_timeout = 10,
    .renew_ratio = 0.5,
    .renew_jitter = 0.1,
    .connect_timeout = 10,
};

static void free_servers(struct addr *servers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        addr_free(&servers[i]);
    free(servers);
}

/* Not zeroed by the allocator's next user. */
static void free_secret(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void free_files(struct tls_files *files)
{
    free(files->ca);
    free(files->cert);
    free(files->key);
    memset(files, 0, sizeof(*files));
}

/* False without memory; *to can be freed all the same. */
static bool copy_files(struct tls_files *to, const struct tls_files *from)
{
    to->insecure = from->insecure;
    to->ca = from->ca ? strdup(from->ca) : NULL;
    to->cert = from->cert ? strdup(from->cert) : NULL;
    to->key = from->key ? strdup(from->key) : NULL;
    return !to->ca == !from->ca && !to->cert == !from->cert && !to->key == !from->key;
}

dflock_options *dflock_options_new(void)
{
    dflock_options *o = malloc(sizeof(*o));

    if (!o)
        return NULL;
    *o = defaults;
    if (dflock_options_set_servers(o, "127.0.0.1:6388") != 0) {
        free(o);
        return NULL;
    }
    return o;
}

void dflock_options_free(dflock_options *o)
{
    if (!o)
        return;
    free_servers(o->servers, o->nservers);
    free_secret(o->auth_token);
    tls_context_unref(o->tls);
    free_files(&o->tls_files);
    free(o->tls_server_name);
    free(o);
}

struct dflock_options *options_copy(const struct dflock_options *o)
{
    struct dflock_options *copy;
    bool whole;

    if (!o)
        return dflock_options_new();
    copy = malloc(sizeof(*copy));
    if (!copy)
        return NULL;
    *copy = *o;
    copy->tls = tls_context_ref(o->tls);
    whole = copy_files(&copy->tls_files, &o->tls_files);
    copy->auth_token = o->auth_token ? strdup(o->auth_token) : NULL;
    copy->tls_server_name = o->tls_server_name ? strdup(o->tls_server_name) : NULL;
    copy->nservers = 0;
    copy->servers = calloc(o->nservers, sizeof(*copy->servers));
    while (copy->servers && copy->nservers < o->nservers &&
           addr_copy(&copy->servers[copy->nservers], &o->servers[copy->nservers]) == 0)
        copy->nservers++;
    if (!whole || copy->nservers != o->nservers || !copy->auth_token != !o->auth_token ||
        !copy->tls_server_name != !o->tls_server_name) {
        dflock_options_free(copy);
        return NULL;
    }
    return copy;
}

int dflock_options_set_servers(dflock_options *o, const char *servers)
{
    struct failure f = {0};
    struct addr *list = NULL;
    size_t n = 0;
    const char *at = servers ? servers : "";

    for (;;) {
        size_t len = strcspn(at, ",");
        struct addr *longer = reallocarray(list, n + 1, sizeof(*list));

        if (!longer) {
            failure_set(&f, DFLOCK_ERR_SYSTEM, "no memory");
            break;
        }
        list = longer;
        if (addr_parse(&list[n], at, len, &f) != 0)
            break;
        n++;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    if (f.code) {
        free_servers(list, n);
        return failure_raise(&f, __func__);
    }
    free_servers(o->servers, o->nservers);
    o->servers = list;
    o->nservers = n;
    return 0;
}

int dflock_options_set_shard(dflock_options *o, dflock_shard_fn *fn, void *arg)
{
    o->shard = fn ? fn : dflock_shard_crc32;
    o->shard_arg = fn ? arg : NULL;
    return 0;
}

int dflock_options_set_acquire_timeout(dflock_options *o, double seconds)
{
    struct failure f = {0};

    if (wire_check_timeout(seconds, &f) != 0)
        return failure_raise(&f, __func__);
    o->acquire_timeout = seconds;
    return 0;
}

int dflock_options_set_lease(dflock_options *o, uint64_t seconds)
{
    struct failure f = {0};

    if (wire_check_lease(seconds, &f) != 0)
        return failure_raise(&f, __func__);
    o->lease = seconds;
    return 0;
}

int dflock_options_set_renew(dflock_options *o, double ratio, double jitter)
{
    if (!(ratio > 0 && ratio < 1))
        return error_raise(DFLOCK_ERR_INVALID, __func__,
                           "a ratio of %g; more than 0 and less than 1", ratio);
    if (!(jitter >= 0 && jitter < 1))
        return error_raise(DFLOCK_ERR_INVALID, __func__,
                           "a jitter of %g; 0 or more and less than 1", jitter);
    o->renew_ratio = ratio;
    o->renew_jitter = jitter;
    return 0;
}

int dflock_options_set_on_renew_error(dflock_options *o, dflock_renew_error_fn *fn, void *arg)
{
    o->on_renew_error = fn;
    o->on_renew_error_arg = arg;
    return 0;
}

int dflock_options_set_connect_timeout(dflock_options *o, double seconds)
{
    struct failure f = {0};

    if (wire_check_timeout(seconds, &f) != 0)
        return failure_raise(&f, __func__);
    if (!(seconds > 0))
        return error_raise(DFLOCK_ERR_INVALID, __func__, "no time to connect in; more than 0 s");
    o->connect_timeout = seconds;
    return 0;
}

static int set_token(dflock_options *o, const char *token, const char *call)
{
    struct failure f = {0};
    char *copy;

    if (wire_check_secret(token, &f) != 0)
        return failure_raise(&f, call);
    copy = strdup(token);
    if (!copy)
        return error_raise(DFLOCK_ERR_SYSTEM, call, "no memory");
    free_secret(o->auth_token);
    o->auth_token = copy;
    return 0;
}

int dflock_options_set_auth_token(dflock_options *o, const char *token)
{
    if (token)
        return set_token(o, token, __func__);
    free_secret(o->auth_token);
    o->auth_token = NULL;
    return 0;
}

int dflock_options_set_auth_token_file(dflock_options *o, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int err;
    FILE *f = path ? fopen(path, "re") : NULL;

    if (!f)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "%s: %s", path ? path : "no file",
                           error_errno(path ? errno : EINVAL));
    errno = 0;
    n = getline(&line, &cap, f);
    if (n < 0 && errno) {
        err = error_raise(DFLOCK_ERR_INVALID, __func__, "%s: %s", path, error_errno(errno));
    } else {
        while (n > 0 && strchr("\r\n \t", line[n - 1]))
            line[--n] = '\0';
        if (n <= 0)
            err = error_raise(DFLOCK_ERR_INVALID, __func__, "%s: its first line is empty", path);
        else if (strlen(line) != (size_t)n)
            err = error_raise(DFLOCK_ERR_INVALID, __func__, "%s: its first line has a NUL in it",
                              path);
        else
            err = set_token(o, line, __func__);
    }
    if (line)
        explicit_bzero(line, cap);
    free(line);
    (void)fclose(f);
    return err;
}

/* Copies of the options share the context that there was, so a change makes another one. */
static int use_tls(dflock_options *o, const struct tls_files *wanted, const char *call)
{
    struct failure f = {0};
    struct tls_files files;
    struct tls_context *made = NULL;

    if (!copy_files(&files, wanted))
        failure_set(&f, DFLOCK_ERR_SYSTEM, "no memory");
    else
        made = tls_context_new(&files, &f);
    if (!made) {
        free_files(&files);
        return failure_raise(&f, call);
    }
    tls_context_unref(o->tls);
    free_files(&o->tls_files);
    o->tls = made;
    o->tls_files = files;
    return 0;
}

int dflock_options_set_tls(dflock_options *o, int on)
{
    if (on)
        return o->tls ? 0 : use_tls(o, &o->tls_files, __func__);
    tls_context_unref(o->tls);
    o->tls = NULL;
    free_files(&o->tls_files);
    return 0;
}

int dflock_options_set_tls_ca_file(dflock_options *o, const char *path)
{
    struct tls_files files = o->tls_files;

    if (!path || !*path)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "no file is named");
    files.ca = (char *)path;
    return use_tls(o, &files, __func__);
}

int dflock_options_set_tls_client_cert(dflock_options *o, const char *cert, const char *key)
{
    struct tls_files files = o->tls_files;

    if (!cert || !*cert || !key || !*key)
        return error_raise(DFLOCK_ERR_INVALID, __func__,
                           "a certificate and its key go together; two files must be named");
    files.cert = (char *)cert;
    files.key = (char *)key;
    return use_tls(o, &files, __func__);
}

int dflock_options_set_tls_server_name(dflock_options *o, const char *name)
{
    char *copy;
    int err;

    if (!name || !*name)
        return error_raise(DFLOCK_ERR_INVALID, __func__, "the name is empty");
    copy = strdup(name);
    if (!copy)
        return error_raise(DFLOCK_ERR_SYSTEM, __func__, "no memory");
    err = dflock_options_set_tls(o, 1);
    if (err) {
        free(copy);
        return err;
    }
    free(o->tls_server_name);
    o->tls_server_name = copy;
    return 0;
}

int dflock_options_set_tls_insecure(dflock_options *o, int on)
{
    struct tls_files files = o->tls_files;

    files.insecure = on != 0;
    return use_tls(o, &files, __func__);
}
