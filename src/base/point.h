/*
 * base/point.h - numbered places where a test may end the process, or make a call fail.
 *
 * Every system call that master and workers make while they serve is written
 *     SYS(NAME, call(…))          a place before the call and one after it
 * and a step between two calls that another process could see half done is marked
 *     POINT(NAME)
 * with the names of points.def. In the program that is installed SYS() is the call and POINT() is
 * nothing. The tests' program is compiled with CRASH_POINTS: there each place counts its passes in
 * a file that a test has mapped, and at the pass that the test asks for the process kills itself,
 * or the call fails. tests/lint/points_test.py finds a call without a place.
 */
#ifndef BASE_POINT_H
#define BASE_POINT_H

#include <stdint.h>

enum point {
#define CALL(name, who, what) POINT_##name,
#define STEP(name, who, what) POINT_##name,
#include "base/points.def"
#undef CALL
#undef STEP
    POINT_COUNT
};

/* Place 2n is before point n, place 2n + 1 after it; a step has only the first. */
#define POINT_PLACES (2 * POINT_COUNT)

/* What a system call comes to that the sandbox does not allow. In the tests' program it kills, so
   that none that is needed goes unnoticed, unless the test says otherwise; NEVER: no filter. */
enum point_denied { POINT_DENIED_KILLS = 0, POINT_DENIED_FAILS = 1, POINT_DENIED_NEVER = 2 };

#ifdef CRASH_POINTS

/* HANG stops it, LOOP has it go round for ever. ESCAPE, only as poison: what the sandbox should deny is
   tried, see tests/crash/escape.c. */
enum point_action { POINT_KILL = 1, POINT_SEGV = 2, POINT_FAIL = 3, POINT_HANG = 4,
                    POINT_ESCAPE = 5, POINT_LOOP = 6 };
enum point_role { POINT_ANY = 0, POINT_WORKER = 1, POINT_MASTER = 2, POINT_WRITER = 3,
                  POINT_HTTP = 4 };

struct point_order {
    uint32_t armed; /* place + 1; 0 = none. Stored last by the test, cleared when it fires */
    uint32_t pass;  /* fires at this pass from now on: 1 is the next one */
    uint32_t action;
    int32_t error; /* POINT_FAIL: errno */
    uint32_t role;  /* whose passes count */
    uint32_t again; /* this often again, at the passes that follow */
};

/* The file. tests/e2e/points.py has the same. */
struct point_board {
    uint32_t places; /* POINT_PLACES: tells a test of another version */
    uint32_t master; /* pid */
    uint32_t fired;  /* how often anything has */
    uint32_t pid;    /* of the process where it did last */
    struct point_order order;
    struct point_order next; /* becomes `order` when that has fired */
    uint32_t poison_action;
    uint32_t poisoned; /* how often a worker died of the key below */
    char poison[64];   /* a request for this key kills its worker; "" = none */
    uint32_t denied;   /* enum point_denied, for processes that start from now on */
    char escaped[1020]; /* "call errno" lines, the first byte last: what came of POINT_ESCAPE */
    int64_t boottime, realtime; /* ns, added to what the clocks say */
    uint32_t writer; /* pid of the fence writer */
    uint32_t http; /* pid of the worker that serves HTTP */
    uint64_t passes[POINT_PLACES]; /* from byte 1184 on */
};

/* Maps the file; without one (NULL) nothing ever fires. The master's. */
void point_init(const char *path);

void point_writer(void); /* this process is the fence writer */
void point_http(void);   /* this one serves HTTP */

/* Counts, and does what was asked for; true: the call is to fail with errno as set. */
int point_pass(unsigned place);
void point_key(const char *key, uint32_t len);
enum point_denied point_denied(void);
void point_escape(struct point_board *board);

#define POINT(name) ((void)point_pass(2 * POINT_##name))
#define SYS(name, call)                                                                            \
    __extension__({                                                                                \
        __typeof__(call) sys_ = (__typeof__(call))-1;                                              \
        if (!point_pass(2 * POINT_##name))                                                         \
            sys_ = (call);                                                                         \
        point_pass(2 * POINT_##name + 1);                                                          \
        sys_;                                                                                      \
    })
#define POINT_KEY(key, len) point_key(key, len)
#define POINT_DENIED() point_denied()

#else

#define point_init(path) ((void)0)
#define point_writer() ((void)0)
#define point_http() ((void)0)
#define POINT(name) ((void)POINT_##name)
#define SYS(name, call) ((void)POINT_##name, (call))
#define POINT_KEY(key, len) ((void)0)
#define POINT_DENIED() POINT_DENIED_FAILS

#endif

#endif
