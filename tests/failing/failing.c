/*
 * tests/failing/failing.c - makes the n-th call of a function fail. Preloaded (LD_PRELOAD) by
 * tests/e2e/failing.py into a whole server, or into a program with libdflock.
 *
 * Orders come through a file that all processes share, mapped as each program starts: they reach
 * workers that run in their sandbox. A call counts if its function and the role of its process are
 * those of the order; a role comes from the name that a process gives itself.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The order of FUNCTIONS and ROLES in failing.py. */
enum function {
    F_MALLOC,
    F_MMAP,
    F_FORK,
    F_ACCEPT,
    F_EPOLL_CTL,
    F_SENDMSG,
    F_RECVMSG,
    F_PWRITE,
    F_FDATASYNC,
    F_PTHREAD,
    F_MUTEX,
    F_DESCRIPTOR,
    F_SOCKET,
};
enum role { R_MAIN = 1, R_CHILD = 2, R_WORKER = 4, R_HTTP = 8, R_WRITER = 16, R_CHECK = 32 };

enum { FRAMES = 24, FRAME_BYTES = 160, ARENA = 1 << 16 };

/* As failing.py has it. */
struct board {
    uint32_t order; /* function + 1; 0 = none */
    uint32_t roles;
    uint32_t nth; /* from 1 */
    uint32_t times; /* so many in a row */
    int32_t error;
    uint32_t count; /* calls since the order was given */
    uint32_t fired;
    uint32_t pid, role; /* whose call failed last */
    uint32_t frames; /* written last */
    char frame[FRAMES][FRAME_BYTES]; /* who called, innermost first: object+offset */
};

static struct board *board;
static uint32_t role = R_MAIN;
static bool ready;
static __thread bool within __attribute__((tls_model("initial-exec"))); /* of this file's own calls */

static void note_frames(void)
{
    void *at[FRAMES];
    int n = backtrace(at, FRAMES);

    for (int i = 0; i < n; i++) {
        Dl_info info;
        const char *name = "?";
        uintptr_t offset = (uintptr_t)at[i];

        if (dladdr(at[i], &info) && info.dli_fname) {
            name = info.dli_fname;
            offset -= (uintptr_t)info.dli_fbase;
        }
        snprintf(board->frame[i], FRAME_BYTES, "%s+0x%lx", name, (unsigned long)offset);
    }
    __atomic_store_n(&board->frames, (uint32_t)n, __ATOMIC_RELEASE);
}

/* Whether this call is the one, and errno is set. */
static bool fails(enum function f)
{
    uint32_t count;

    if (!board || within || __atomic_load_n(&board->order, __ATOMIC_ACQUIRE) != f + 1u ||
        !(board->roles & role))
        return false;
    count = __atomic_add_fetch(&board->count, 1, __ATOMIC_SEQ_CST);
    if (count < board->nth || count - board->nth >= board->times)
        return false;
    within = true;
    board->pid = (uint32_t)getpid();
    board->role = role;
    if (count == board->nth)
        note_frames();
    __atomic_add_fetch(&board->fired, 1, __ATOMIC_SEQ_CST);
    within = false;
    errno = board->error;
    return true;
}

/* ---- memory ---- */

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static void *(*real_memalign)(size_t, size_t);

/* What dlsym() itself may need before it has found malloc(). */
static char arena[ARENA] __attribute__((aligned(16)));
static size_t arena_used;

static void *from_arena(size_t n)
{
    size_t at = __atomic_fetch_add(&arena_used, (n + 31) & ~(size_t)15, __ATOMIC_RELAXED);

    if (at + n > ARENA)
        abort();
    return arena + at;
}

static bool in_arena(const void *p)
{
    return (const char *)p >= arena && (const char *)p < arena + ARENA;
}

static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    if (!f)
        abort();
    return f;
}

static bool looking;

static bool find_malloc(void)
{
    if (real_memalign)
        return true;
    if (looking)
        return false;
    looking = true;
    real_calloc = next("calloc");
    real_realloc = next("realloc");
    real_free = next("free");
    real_malloc = next("malloc");
    real_memalign = next("memalign");
    looking = false;
    return true;
}

void *malloc(size_t n)
{
    if (!find_malloc())
        return from_arena(n);
    return fails(F_MALLOC) ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (!find_malloc())
        return from_arena(n * size);
    return fails(F_MALLOC) ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (!find_malloc() || in_arena(p)) {
        void *q = from_arena(n);

        if (p)
            memcpy(q, p, n); /* what lies behind it is the arena's as well */
        return q;
    }
    return fails(F_MALLOC) ? NULL : real_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
    if (!find_malloc())
        abort();
    return fails(F_MALLOC) ? NULL : real_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);

    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    if (!in_arena(p) && find_malloc())
        real_free(p);
}

/* ---- the rest ---- */

/* Looked up when the program starts: a worker in its sandbox finds them. */
#define REAL(type, name, parameters) static type(*real_##name) parameters
REAL(void *, mmap, (void *, size_t, int, int, int, off_t));
REAL(void *, mmap64, (void *, size_t, int, int, int, off_t));
REAL(pid_t, fork, (void));
REAL(int, posix_spawn, (pid_t *, const char *, const posix_spawn_file_actions_t *,
                        const posix_spawnattr_t *, char *const[], char *const[]));
REAL(int, accept4, (int, struct sockaddr *, socklen_t *, int));
REAL(int, epoll_ctl, (int, int, int, struct epoll_event *));
REAL(ssize_t, sendmsg, (int, const struct msghdr *, int));
REAL(ssize_t, recvmsg, (int, struct msghdr *, int));
REAL(ssize_t, pwrite, (int, const void *, size_t, off_t));
REAL(ssize_t, pwrite64, (int, const void *, size_t, off_t));
REAL(int, fdatasync, (int));
REAL(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *));
REAL(int, pthread_attr_init, (pthread_attr_t *));
REAL(int, pthread_mutexattr_init, (pthread_mutexattr_t *));
REAL(int, pthread_mutexattr_setrobust, (pthread_mutexattr_t *, int));
REAL(int, pthread_mutexattr_setpshared, (pthread_mutexattr_t *, int));
REAL(int, pthread_mutexattr_settype, (pthread_mutexattr_t *, int));
REAL(int, pthread_mutex_init, (pthread_mutex_t *, const pthread_mutexattr_t *));
REAL(int, pthread_cond_init, (pthread_cond_t *, const pthread_condattr_t *));
REAL(int, pthread_mutex_trylock, (pthread_mutex_t *));
REAL(int, pthread_mutex_clocklock, (pthread_mutex_t *, clockid_t, const struct timespec *));
REAL(int, socket, (int, int, int));
REAL(int, socketpair, (int, int, int, int[2]));
REAL(int, memfd_create, (const char *, unsigned));
REAL(int, eventfd, (unsigned, int));
REAL(int, epoll_create1, (int));
REAL(int, signalfd, (int, const sigset_t *, int));
REAL(int, pidfd_open, (pid_t, unsigned));
REAL(int, pipe2, (int[2], int));
REAL(int, prctl, (int, unsigned long, unsigned long, unsigned long, unsigned long));

static void find_all(void)
{
#define FIND(name) real_##name = next(#name)
    FIND(mmap);
    FIND(mmap64);
    FIND(fork);
    FIND(posix_spawn);
    FIND(accept4);
    FIND(epoll_ctl);
    FIND(sendmsg);
    FIND(recvmsg);
    FIND(pwrite);
    FIND(pwrite64);
    FIND(fdatasync);
    FIND(pthread_create);
    FIND(pthread_attr_init);
    FIND(pthread_mutexattr_init);
    FIND(pthread_mutexattr_setrobust);
    FIND(pthread_mutexattr_setpshared);
    FIND(pthread_mutexattr_settype);
    FIND(pthread_mutex_init);
    FIND(pthread_cond_init);
    FIND(pthread_mutex_trylock);
    FIND(pthread_mutex_clocklock);
    FIND(socket);
    FIND(socketpair);
    FIND(memfd_create);
    FIND(eventfd);
    FIND(epoll_create1);
    FIND(signalfd);
    FIND(pidfd_open);
    FIND(pipe2);
    FIND(prctl);
#undef FIND
    ready = true;
}

/* A sanitizer's library calls some of these before this one's constructor has run. */
#define FIND_ALL() \
    do \
        if (!ready) \
            find_all(); \
    while (0)

#define WRAP(type, name, parameters, arguments, function, failed) \
    type name parameters \
    { \
        FIND_ALL(); \
        return fails(function) ? (type)(failed) : real_##name arguments; \
    }

/* These tell their error by what they return. */
#define WRAP_CODE(name, parameters, arguments, function) \
    int name parameters \
    { \
        FIND_ALL(); \
        return fails(function) ? errno : real_##name arguments; \
    }

WRAP(void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o), (a, n, p, f, fd, o), F_MMAP,
     MAP_FAILED)
WRAP(void *, mmap64, (void *a, size_t n, int p, int f, int fd, off_t o), (a, n, p, f, fd, o),
     F_MMAP, MAP_FAILED)
WRAP(int, accept4, (int s, struct sockaddr *a, socklen_t *n, int f), (s, a, n, f), F_ACCEPT, -1)
WRAP(ssize_t, sendmsg, (int s, const struct msghdr *m, int f), (s, m, f), F_SENDMSG, -1)
WRAP(ssize_t, recvmsg, (int s, struct msghdr *m, int f), (s, m, f), F_RECVMSG, -1)
WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), F_PWRITE, -1)
WRAP(ssize_t, pwrite64, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), F_PWRITE, -1)
WRAP(int, fdatasync, (int fd), (fd), F_FDATASYNC, -1)
WRAP_CODE(pthread_create,
          (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *arg),
          (t, a, run, arg), F_PTHREAD)
WRAP_CODE(pthread_attr_init, (pthread_attr_t * a), (a), F_PTHREAD)
WRAP_CODE(pthread_mutexattr_init, (pthread_mutexattr_t * a), (a), F_PTHREAD)
WRAP_CODE(pthread_mutexattr_setrobust, (pthread_mutexattr_t * a, int v), (a, v), F_PTHREAD)
WRAP_CODE(pthread_mutexattr_setpshared, (pthread_mutexattr_t * a, int v), (a, v), F_PTHREAD)
WRAP_CODE(pthread_mutexattr_settype, (pthread_mutexattr_t * a, int v), (a, v), F_PTHREAD)
WRAP_CODE(pthread_mutex_init, (pthread_mutex_t * m, const pthread_mutexattr_t *a), (m, a),
          F_PTHREAD)
WRAP_CODE(pthread_cond_init, (pthread_cond_t * c, const pthread_condattr_t *a), (c, a), F_PTHREAD)
WRAP(int, socket, (int d, int t, int p), (d, t, p), F_SOCKET, -1)
WRAP(int, socketpair, (int d, int t, int p, int fd[2]), (d, t, p, fd), F_DESCRIPTOR, -1)
WRAP(int, memfd_create, (const char *name, unsigned f), (name, f), F_DESCRIPTOR, -1)
WRAP(int, eventfd, (unsigned n, int f), (n, f), F_DESCRIPTOR, -1)
WRAP(int, epoll_create1, (int f), (f), F_DESCRIPTOR, -1)
WRAP(int, signalfd, (int fd, const sigset_t *s, int f), (fd, s, f), F_DESCRIPTOR, -1)
WRAP(int, pidfd_open, (pid_t pid, unsigned f), (pid, f), F_DESCRIPTOR, -1)
WRAP(int, pipe2, (int fd[2], int f), (fd, f), F_DESCRIPTOR, -1)

/* A mutex is free or not, whatever else happens: somebody else has it, for a moment. */
int pthread_mutex_trylock(pthread_mutex_t *m)
{
    FIND_ALL();
    return fails(F_MUTEX) ? EBUSY : real_pthread_mutex_trylock(m);
}

int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *until)
{
    FIND_ALL();
    return fails(F_MUTEX) ? ETIMEDOUT : real_pthread_mutex_clocklock(m, clock, until);
}

/* To take a descriptor out needs nothing that may be lacking. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
    FIND_ALL();
    return op != EPOLL_CTL_DEL && fails(F_EPOLL_CTL) ? -1 : real_epoll_ctl(epfd, op, fd, ev);
}

pid_t fork(void)
{
    pid_t pid;

    FIND_ALL();
    if (fails(F_FORK))
        return -1;
    pid = real_fork();
    if (pid == 0)
        role = R_CHILD;
    return pid;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    FIND_ALL();
    return fails(F_FORK) ? errno : real_posix_spawn(pid, path, actions, attr, argv, envp);
}

/* Who a process is. */
int prctl(int option, ...)
{
    static const struct {
        const char *name;
        enum role role;
    } names[] = {{"dflockd-http", R_HTTP}, {"dflockd-fence", R_WRITER}, {"dflockd-w", R_WORKER}};
    unsigned long arg[4];
    va_list args;

    FIND_ALL();
    va_start(args, option);
    for (int i = 0; i < 4; i++)
        arg[i] = va_arg(args, unsigned long);
    va_end(args);
    for (size_t i = 0; option == PR_SET_NAME && i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp((const char *)arg[0], names[i].name, strlen(names[i].name)) == 0) {
            role = names[i].role;
            break;
        }
    return real_prctl(option, arg[0], arg[1], arg[2], arg[3]);
}

/* `dflockd --check-region`, which a master runs before it becomes another program. */
static bool is_check(void)
{
    char text[4096];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));

    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(text, (size_t)n, "--check-region", strlen("--check-region"));
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAILING_FILE"), *only = getenv("FAILING_ONLY");
    void *at[1];
    void *map;
    int fd;

    FIND_ALL();
    find_malloc();
    if (is_check())
        role = R_CHECK;
    backtrace(at, 1); /* it loads a library, the first time */
    if (only && strcmp(only, program_invocation_short_name) != 0)
        return; /* what the program runs */
    fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    map = real_mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        board = map;
}
