/*
 * tests/soak/history.h - what clients saw, written by soak.c and read by checker.c.
 *
 * Text, one event a line, in order of time: a letter, CLOCK_BOOTTIME in nanoseconds, then
 *
 *   B t floor           begins; all fences so far are at most `floor`
 *   O t conn            a connection is about to be made; numbers go up from 1 and are not reused
 *   C t conn            it is made (in a later round: it is there already, and idle)
 *   S t conn cmd key arg   a request: the time is before its first byte was written; - for no key
 *   R t conn reply      a whole reply was read (of stats: `ok {LENGTH}`, when it was well-formed)
 *   H t conn ns         shutdown(SHUT_WR), after whole requests; it had returned `ns` later; 0: the
 *                       last request and the FIN went in one segment
 *   X t conn how        the client is about to end it: close or reset
 *   E t conn how        it ended, and not by X: eof, reset or refused
 *   K t signal pid      a worker is about to get this signal (9, 11, 18, 19)
 *   P t ns              the client itself did not run for some of the `ns` before t; or so long it
 *                       took until the workers that had been killed had all been replaced
 *   Z t                 ends; the client waits for nothing and holds nothing
 *
 * Nth reply and Nth request of a connection belong together; the reader counts them.
 */
#ifndef TESTS_SOAK_HISTORY_H
#define TESTS_SOAK_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)

enum cmd {
    CMD_L,
    CMD_SL,
    CMD_R,
    CMD_SR,
    CMD_N,
    CMD_SN,
    CMD_E,
    CMD_SE,
    CMD_W,
    CMD_SW,
    CMD_PING,
    CMD_STATS,
    CMD_COUNT
};

struct event {
    char what;
    uint64_t t;
    uint64_t conn;  /* B: floor; K: signal; P: ns */
    uint64_t extra; /* H: ns */
    enum cmd cmd;
    char *key;  /* S */
    char *text; /* S: arg; R: reply; X, E: how */
};

extern const char *const cmd_name[CMD_COUNT];

/* Takes a line apart, which it changes. False: it has not this form. */
bool history_parse(char *line, struct event *ev);

/* An unsigned decimal; moves *at behind it and the spaces that follow. False: there is none. */
bool history_number(char **at, uint64_t *value);

#endif
