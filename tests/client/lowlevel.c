/*
 * tests/client/lowlevel.c - the low level of libdflock by remote control: each line on standard
 * input is a call, each is answered by a line. tests/e2e/lowlevel.py speaks to it.
 *
 *     CALL ARGUMENT …      arguments are separated by blanks, with %XX for a byte; "-" is NULL
 *     bg CALL ARGUMENT …   in a thread of its own; "started" at once, "bg " and the answer later
 *
 * Answer: RESULT NAME, what was stored, a tab, dflock_error_text() if the result is negative.
 */
#include "client/dflock.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGS_MAX = 8, THREADS_MAX = 64 };

static dflock_options *options;
static dflock_conn *conn;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static void decode(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (*s == '%' && s[1] && s[2]) {
            char hex[3] = {s[1], s[2], 0};

            *out++ = (char)strtoul(hex, NULL, 16);
            s += 2;
        } else
            *out++ = *s;
    }
    *out = 0;
}

static double number(const char *s)
{
    return s ? strtod(s, NULL) : 0;
}

static uint64_t whole(const char *s)
{
    return s ? strtoull(s, NULL, 10) : 0;
}

/* Drives the connection until the next reply, as an event loop does. */
static int next(struct dflock_reply *reply)
{
    int r;

    while ((r = dflock_conn_next(conn, reply)) == 0) {
        struct pollfd p = {.fd = dflock_conn_fd(conn), .events = (short)dflock_conn_events(conn)};

        poll(&p, 1, dflock_conn_timeout_ms(conn));
        dflock_conn_process(conn);
    }
    return r;
}

static int set_option(const char *name, const char *value)
{
    if (strcmp(name, "connect_timeout") == 0)
        return dflock_options_set_connect_timeout(options, number(value));
    if (strcmp(name, "auth_token") == 0)
        return dflock_options_set_auth_token(options, value);
    if (strcmp(name, "auth_token_file") == 0)
        return dflock_options_set_auth_token_file(options, value);
    if (strcmp(name, "tls") == 0)
        return dflock_options_set_tls(options, atoi(value));
    if (strcmp(name, "tls_ca_file") == 0)
        return dflock_options_set_tls_ca_file(options, value);
    if (strcmp(name, "tls_server_name") == 0)
        return dflock_options_set_tls_server_name(options, value);
    if (strcmp(name, "tls_insecure") == 0)
        return dflock_options_set_tls_insecure(options, atoi(value));
    if (strcmp(name, "servers") == 0)
        return dflock_options_set_servers(options, value);
    fprintf(stderr, "no such option: %s\n", name);
    exit(2);
}

/* Calls, and writes to `stored` what the call gave besides its result. */
static int call(char **a, FILE *stored)
{
    struct dflock_grant g = {.fence = 0};
    struct dflock_reply reply;
    const char *json = NULL;
    uint64_t left = 0;
    size_t len = 0;
    int r;

#define IS(name) (strcmp(a[0], name) == 0)
    if (IS("option"))
        return set_option(a[1], a[2]);
    if (IS("dial") || IS("dial_start")) {
        dflock_conn_free(conn);
        return IS("dial") ? dflock_dial(&conn, a[1], options)
                          : dflock_dial_start(&conn, a[1], options);
    }
    if (IS("acquire"))
        r = dflock_conn_acquire(conn, a[1], number(a[2]), whole(a[3]), &g);
    else if (IS("sem_acquire"))
        r = dflock_conn_sem_acquire(conn, a[1], number(a[2]), (uint32_t)whole(a[3]), whole(a[4]),
                                    &g);
    else if (IS("enqueue"))
        r = dflock_conn_enqueue(conn, a[1], whole(a[2]), &g);
    else if (IS("sem_enqueue"))
        r = dflock_conn_sem_enqueue(conn, a[1], (uint32_t)whole(a[2]), whole(a[3]), &g);
    else if (IS("wait"))
        r = dflock_conn_wait(conn, a[1], number(a[2]), &g);
    else if (IS("sem_wait"))
        r = dflock_conn_sem_wait(conn, a[1], number(a[2]), &g);
    else if (IS("renew"))
        r = dflock_conn_renew(conn, a[1], a[2], whole(a[3]), &left);
    else if (IS("sem_renew"))
        r = dflock_conn_sem_renew(conn, a[1], a[2], whole(a[3]), &left);
    else if (IS("release"))
        r = dflock_conn_release(conn, a[1], a[2]);
    else if (IS("sem_release"))
        r = dflock_conn_sem_release(conn, a[1], a[2]);
    else if (IS("authenticate"))
        r = dflock_conn_authenticate(conn, a[1]);
    else if (IS("ping"))
        r = dflock_conn_ping(conn);
    else if (IS("stats"))
        r = dflock_conn_stats(conn, &json, &len);
    else if (IS("list"))
        r = dflock_conn_list(conn, a[1], a[2], &json, &len);
    else if (IS("show"))
        r = dflock_conn_show(conn, a[1], (enum dflock_kind)whole(a[2]), &json, &len);
    else if (IS("evict"))
        r = dflock_conn_evict(conn, a[1], (enum dflock_kind)whole(a[2]), whole(a[3]));
    else if (IS("cancel"))
        r = dflock_conn_cancel(conn);
    else if (IS("submit"))
        r = dflock_conn_submit(conn, a[1], a[2], a[3]);
    else if (IS("process"))
        r = dflock_conn_process(conn);
    else if (IS("next")) {
        r = next(&reply);
        if (r == 1)
            fprintf(stored, " %s seconds=%" PRIu64 " token=%s text=%s",
                    reply.status < 0 ? dflock_error_name(reply.status)
                                     : (char[]){(char)('0' + reply.status), 0},
                    reply.seconds, reply.token, reply.text);
        return r;
    } else if (IS("shard"))
        return (int)dflock_shard_crc32(a[1], whole(a[2]), NULL);
    else if (IS("close")) {
        dflock_conn_close(conn);
        r = 0;
    } else {
        fprintf(stderr, "no such call: %s\n", a[0]);
        exit(2);
    }
    if (g.fence)
        fprintf(stored, " %s %" PRIu64 " %" PRIu64, g.token, g.fence, g.lease);
    if (left)
        fprintf(stored, " %" PRIu64, left);
    if (json)
        fprintf(stored, " %zu %.200s", len, json);
    return r;
}

static void answer(const char *prefix, char **args)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stored = open_memstream(&text, &size);
    int r = call(args, stored);

    fclose(stored);
    pthread_mutex_lock(&printing);
    printf("%s%d %s%s\t%s\n", prefix, r, r < 0 ? dflock_error_name(r) : "ok", text,
           r < 0 ? dflock_error_text() : "");
    fflush(stdout);
    pthread_mutex_unlock(&printing);
    free(text);
}

struct job {
    char *line;
    char *args[ARGS_MAX];
};

static void *background(void *arg)
{
    struct job *job = arg;

    answer("bg ", job->args);
    free(job->line);
    free(job);
    return NULL;
}

/* The next call of standard input; NULL at its end. */
static struct job *read_job(void)
{
    struct job *job = calloc(1, sizeof(*job));
    size_t size = 0;
    ssize_t n = getline(&job->line, &size, stdin);
    char *save = NULL;
    int i = 0;

    if (n <= 0) {
        free(job->line);
        free(job);
        return NULL;
    }
    job->line[strcspn(job->line, "\n")] = 0;
    for (char *at = strtok_r(job->line, " ", &save); at && i < ARGS_MAX - 1;
         at = strtok_r(NULL, " ", &save)) {
        decode(at);
        job->args[i++] = strcmp(at, "-") == 0 ? NULL : at;
    }
    return job;
}

int main(void)
{
    pthread_t threads[THREADS_MAX];
    struct job *job;
    int n = 0;

    options = dflock_options_new();
    while ((job = read_job())) {
        if (strcmp(job->args[0], "bg") == 0) {
            memmove(job->args, job->args + 1, (ARGS_MAX - 1) * sizeof(job->args[0]));
            if (n == THREADS_MAX || pthread_create(&threads[n++], NULL, background, job) != 0)
                exit(2);
            puts("started");
            fflush(stdout);
            continue;
        }
        answer("", job->args);
        free(job->line);
        free(job);
    }
    while (n > 0)
        pthread_join(threads[--n], NULL);
    dflock_conn_free(conn);
    dflock_options_free(options);
    return 0;
}
