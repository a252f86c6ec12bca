/*
 * base/point.c - see point.h. Empty but in the tests' program.
 */
#include "base/point.h"

#ifdef CRASH_POINTS

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct point_board *board;

void point_init(const char *path)
{
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0)
        return;
    map = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    board = map;
    board->places = POINT_PLACES;
    /* A program that only looks, while the master lives, is not the master. */
    if (board->master == 0 || syscall(SYS_kill, board->master, 0) < 0)
        board->master = (uint32_t)getpid();
    clock_test_offset_ns(&board->boottime, &board->realtime);
}

void point_writer(void)
{
    if (board)
        board->writer = (uint32_t)getpid();
}

void point_http(void)
{
    if (board)
        board->http = (uint32_t)getpid();
}

static bool has_role(uint32_t role)
{
    uint32_t pid = (uint32_t)getpid();

    return role == POINT_ANY || role == (pid == board->master   ? POINT_MASTER
                                         : pid == board->writer ? POINT_WRITER
                                         : pid == board->http   ? POINT_HTTP
                                                                : POINT_WORKER);
}

/* To the main thread, which blocks none; the only signals that the sandbox allows. */
static void signal_self(int sig)
{
    syscall(SYS_tgkill, getpid(), getpid(), sig);
}

static void die(uint32_t action)
{
    switch (action) {
    case POINT_KILL:
        signal_self(SIGKILL);
        break;
    case POINT_SEGV:
        signal(SIGSEGV, SIG_DFL);
        signal_self(SIGSEGV);
        break;
    case POINT_HANG:
        signal_self(SIGSTOP);
        return;
    case POINT_ESCAPE:
        point_escape(board);
        return;
    case POINT_LOOP:
        for (;;)
            __asm__ volatile("");
    default:
        return;
    }
    for (;;)
        sched_yield(); /* the signal may be on its way to another thread */
}

/* True for exactly one caller: whose pass it was. The next order stands before it acts. */
static bool fires(struct point_order *o, uint32_t armed, struct point_order *out)
{
    if (__atomic_sub_fetch(&o->pass, 1, __ATOMIC_SEQ_CST) != 0)
        return false;
    *out = *o;
    if (o->again > 0) {
        o->again--;
        __atomic_store_n(&o->pass, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&board->pid, (uint32_t)getpid(), __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&board->fired, 1, __ATOMIC_SEQ_CST);
        return true;
    }
    if (!__atomic_compare_exchange_n(&o->armed, &armed, 0, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return false;
    __atomic_store_n(&board->pid, (uint32_t)getpid(), __ATOMIC_SEQ_CST);
    if (board->next.armed) {
        uint32_t next = board->next.armed;

        o->pass = board->next.pass;
        o->action = board->next.action;
        o->error = board->next.error;
        o->role = board->next.role;
        o->again = board->next.again;
        board->next.armed = 0;
        __atomic_store_n(&o->armed, next, __ATOMIC_SEQ_CST);
    }
    /* Last: a test that sees it may give its next orders. */
    __atomic_fetch_add(&board->fired, 1, __ATOMIC_SEQ_CST);
    return true;
}

int point_pass(unsigned place)
{
    struct point_order *o, mine;
    int saved = errno;

    if (!board)
        return 0;
    o = &board->order;
    __atomic_fetch_add(&board->passes[place], 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&o->armed, __ATOMIC_SEQ_CST) != place + 1 || !has_role(o->role))
        return 0;
    if (!fires(o, place + 1, &mine))
        return 0;
    if (mine.action == POINT_FAIL) {
        errno = mine.error;
        return 1;
    }
    die(mine.action);
    errno = saved;
    return 0;
}

void point_key(const char *key, uint32_t len)
{
    if (board && board->poison[0] && len == strnlen(board->poison, sizeof(board->poison)) &&
        memcmp(key, board->poison, len) == 0) {
        __atomic_fetch_add(&board->poisoned, 1, __ATOMIC_SEQ_CST);
        die(board->poison_action);
    }
}

enum point_denied point_denied(void)
{
    return board ? (enum point_denied)board->denied : POINT_DENIED_FAILS;
}

#else

_Static_assert(POINT_COUNT > 0, "points.def");

#endif
