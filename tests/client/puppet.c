/*
 * tests/client/puppet.c - libdflock on strings: tests in Python tell it what to call, line by line.
 *
 *     option NAME VALUE       for the handles made from then on; "fresh" forgets all
 *     lock H KEY | sem H KEY LIMIT    H: 0 to 255
 *     acquire H | enqueue H | wait H SECONDS | release H | with H SECONDS | free H
 *                             in a thread of its own, so that others can be called meanwhile;
 *                             with less than 0 SECONDS: until there is a line "leave 0"
 *     cancel H | close H | held H | token H
 *     driver H                an event loop for H, in a thread; then, without another thread:
 *     do H acquire | do H enqueue | do H wait SECONDS | do H release | do H cancel
 *     fork H KEY              a child that acquires KEY, says so as H, and keeps it
 *     text                    what dflock_error_text() has in the thread that reads
 *
 * A line comes back for each: "= H CALL RESULT …", with the text after a negative result; for a
 * loss
 * "! H ERROR TEXT" (option on_loss: what its callback does after that).
 */
#include <dflock.h>

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HANDLES = 256 };

static struct puppet {
    dflock *lock;
    char on_loss[16];
    int commands[2]; /* of its driver */
} puppets[HANDLES];

static dflock_options *options;
static char on_loss[16];
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(int h, const char *call, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(int h, const char *call, const char *format, ...)
{
    va_list args;

    pthread_mutex_lock(&output);
    printf("= %d %s ", h, call);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

static void say_result(int h, const char *call, int result)
{
    const dflock *l = puppets[h].lock;

    if (result < 0)
        say(h, call, "%s %s", dflock_error_name(result), dflock_error_text());
    else if (result == DFLOCK_HELD && strcmp(call, "release") != 0)
        say(h, call, "held %s %llu", dflock_token(l), (unsigned long long)dflock_lease(l));
    else if (result == DFLOCK_QUEUED)
        say(h, call, "queued");
    else
        say(h, call, "%s", strcmp(call, "release") == 0 ? "released" : "timed_out");
}

static void lost(dflock *l, int error, const char *text, void *arg)
{
    struct puppet *p = arg;
    int h = (int)(p - puppets);

    pthread_mutex_lock(&output);
    printf("! %d %s %s\n", h, dflock_error_name(error), text);
    fflush(stdout);
    pthread_mutex_unlock(&output);
    if (strcmp(p->on_loss, "release") == 0)
        say_result(h, "release", dflock_release(l));
    else if (strcmp(p->on_loss, "acquire") == 0)
        say_result(h, "acquire", dflock_acquire(l));
    else if (strcmp(p->on_loss, "close") == 0)
        dflock_close(l);
    else if (strcmp(p->on_loss, "block") == 0)
        pause();
    else if (strcmp(p->on_loss, "linger") == 0) {
        usleep(300 * 1000);
        say(h, "lingered", "0");
    }
}

/* ---- options --------------------------------------------------------------------------------- */

static int set_option(const char *name, const char *value)
{
    double number = atof(value);

    if (strcmp(name, "servers") == 0)
        return dflock_options_set_servers(options, value);
    if (strcmp(name, "acquire_timeout") == 0)
        return dflock_options_set_acquire_timeout(options, number);
    if (strcmp(name, "lease") == 0)
        return dflock_options_set_lease(options, strtoull(value, NULL, 10));
    if (strcmp(name, "connect_timeout") == 0)
        return dflock_options_set_connect_timeout(options, number);
    if (strcmp(name, "ratio") == 0)
        return dflock_options_set_renew(options, number, 0.1);
    if (strcmp(name, "auth_token") == 0)
        return dflock_options_set_auth_token(options, value);
    if (strcmp(name, "tls_ca_file") == 0)
        return dflock_options_set_tls_ca_file(options, value);
    if (strcmp(name, "on_loss") == 0) {
        snprintf(on_loss, sizeof on_loss, "%s", value);
        return 0;
    }
    return DFLOCK_ERR_INVALID;
}

static void make(int h, const char *key, const char *limit)
{
    struct puppet *p = &puppets[h];

    memcpy(p->on_loss, on_loss, sizeof on_loss);
    dflock_options_set_on_renew_error(options, on_loss[0] != '\0' ? lost : NULL, p);
    p->lock = limit == NULL ? dflock_lock_new(key, options)
                            : dflock_semaphore_new(key, (uint32_t)atoi(limit), options);
    if (p->lock != NULL)
        say(h, "new", "%s %s", dflock_key(p->lock), dflock_server(p->lock));
    else
        say(h, "new", "NULL %s", dflock_error_text());
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct call {
    int h;
    char name[16];
    double number;
};

static atomic_bool leaving;

static int nap(dflock *l, void *arg)
{
    const struct call *c = arg;

    say(c->h, "inside", "%d", dflock_is_held(l));
    if (c->number >= 0)
        usleep((useconds_t)(c->number * 1e6));
    while (c->number < 0 && !atomic_load(&leaving))
        usleep(1000);
    return 42;
}

static void *run(void *arg)
{
    struct call *c = arg;
    dflock *l = puppets[c->h].lock;
    int value = -1;

    if (strcmp(c->name, "acquire") == 0)
        say_result(c->h, c->name, dflock_acquire(l));
    else if (strcmp(c->name, "enqueue") == 0)
        say_result(c->h, c->name, dflock_enqueue(l));
    else if (strcmp(c->name, "wait") == 0)
        say_result(c->h, c->name, dflock_wait(l, c->number));
    else if (strcmp(c->name, "release") == 0)
        say_result(c->h, c->name, dflock_release(l));
    else if (strcmp(c->name, "free") == 0) {
        /* After what others have said of it, which is all that orders them here. */
        pthread_mutex_lock(&output);
        pthread_mutex_unlock(&output);
        dflock_free(l);
        say(c->h, c->name, "0");
    } else {
        int result = dflock_with_lock(l, nap, c, &value);

        say(c->h, "with", "%d %d %s", result, value, result < 0 ? dflock_error_text() : "");
    }
    free(c);
    return NULL;
}

static void in_thread(void *(*work)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, work, arg) != 0)
        abort();
    pthread_attr_destroy(&attr);
}

/* ---- an event loop --------------------------------------------------------------------------- */

static int begin(dflock *l, const struct call *c)
{
    if (strcmp(c->name, "acquire") == 0)
        return dflock_start_acquire(l);
    if (strcmp(c->name, "enqueue") == 0)
        return dflock_start_enqueue(l);
    if (strcmp(c->name, "wait") == 0)
        return dflock_start_wait(l, c->number);
    if (strcmp(c->name, "cancel") == 0)
        return dflock_cancel(l);
    return dflock_start_release(l);
}

static void *drive(void *arg)
{
    struct puppet *p = arg;
    int h = (int)(p - puppets);
    struct call c = {0};

    for (;;) {
        struct pollfd fds[2] = {{.fd = dflock_fd(p->lock), .events = (short)dflock_events(p->lock)},
                                {.fd = p->commands[0], .events = POLLIN}};
        int result;

        poll(fds, 2, dflock_timeout_ms(p->lock));
        if ((fds[1].revents & POLLIN) != 0) {
            if (read(p->commands[0], &c, sizeof c) != sizeof c)
                return NULL;
            result = begin(p->lock, &c);
            if (result != 0 || strcmp(c.name, "cancel") == 0)
                say_result(h, c.name, result);
        }
        result = dflock_process(p->lock);
        if (result == DFLOCK_ERR_CLOSED)
            return NULL;
        if (result != DFLOCK_PENDING && result != DFLOCK_IDLE)
            say_result(h, c.name, result);
    }
}

static void start_driver(struct puppet *p)
{
    if (pipe(p->commands) != 0)
        abort();
    in_thread(drive, p);
}

/* Until its parent is gone. */
static void hold_in_child(int h, const char *key)
{
    pid_t parent = getpid(), pid;
    dflock *child;

    /* Not while another thread prints: the child would never get the mutex. */
    pthread_mutex_lock(&output);
    pid = fork();
    pthread_mutex_unlock(&output);
    if (pid != 0)
        return;
    alarm(60);
    child = dflock_lock_new(key, options);
    say(h, "fork", "%s", dflock_acquire(child) == DFLOCK_HELD ? "held" : dflock_error_text());
    while (getppid() == parent)
        usleep(100 * 1000);
    _exit(0);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void obey(char *line)
{
    static const char *const empty = "";
    char *save = NULL;
    const char *word[4] = {empty, empty, empty, empty};
    struct call *c;
    dflock *l;
    int h;

    for (int i = 0; i < 4; i++) {
        char *next = strtok_r(i == 0 ? line : NULL, " \n", &save);

        if (next == NULL)
            break;
        word[i] = next;
    }
    h = atoi(word[1]) % HANDLES;
    l = puppets[h].lock;
    if (strcmp(word[0], "option") == 0) {
        int error = set_option(word[1], word[2]);

        say(0, "option", "%d %s", error, error != 0 ? dflock_error_text() : "");
    } else if (strcmp(word[0], "fresh") == 0) {
        dflock_options_free(options);
        options = dflock_options_new();
        on_loss[0] = '\0';
    } else if (strcmp(word[0], "lock") == 0) {
        make(h, word[2], NULL);
    } else if (strcmp(word[0], "sem") == 0) {
        make(h, word[2], word[3]);
    } else if (strcmp(word[0], "leave") == 0) {
        atomic_store(&leaving, true);
    } else if (strcmp(word[0], "cancel") == 0) {
        int error = dflock_cancel(l);

        say(h, "cancel", "%s", error == 0 ? "0" : dflock_error_name(error));
    } else if (strcmp(word[0], "close") == 0) {
        dflock_close(l);
        say(h, "close", "0");
    } else if (strcmp(word[0], "held") == 0) {
        say(h, "held", "%d %.6f", dflock_is_held(l), dflock_lease_left(l));
    } else if (strcmp(word[0], "token") == 0) {
        say(h, "token", "%s %llu %llu", dflock_token(l), (unsigned long long)dflock_fence(l),
            (unsigned long long)dflock_lease(l));
    } else if (strcmp(word[0], "driver") == 0) {
        start_driver(&puppets[h]);
        say(h, "driver", "0");
    } else if (strcmp(word[0], "do") == 0) {
        struct call d = {.h = h, .number = atof(word[3])};

        snprintf(d.name, sizeof d.name, "%s", word[2]);
        if (write(puppets[h].commands[1], &d, sizeof d) != sizeof d)
            abort();
    } else if (strcmp(word[0], "fork") == 0) {
        hold_in_child(h, word[2]);
    } else if (strcmp(word[0], "text") == 0) {
        say(0, "text", "%s", dflock_error_text());
    } else {
        c = calloc(1, sizeof *c);
        if (c == NULL)
            abort();
        c->h = h;
        c->number = atof(word[2]);
        snprintf(c->name, sizeof c->name, "%s", word[0]);
        in_thread(run, c);
    }
}

int main(void)
{
    char line[1024];

    options = dflock_options_new();
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(line);
    return 0;
}
