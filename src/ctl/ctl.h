/*
 * ctl/ctl.h - a call of dflockctl: its command, options and arguments, and how it ends when
 * something is wrong with them. Commands are in files of their own, one each.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "ctl/ask.h"
#include "where/where.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CMD_LS = 1,
    CMD_SHOW = 2,
    CMD_EVICT = 4,
    CMD_TOP = 8,
    CMD_STATS = 16,
    CMD_PING = 32,
    CMD_CHECK = 64
};

/* ROW(id, what getopt_long() returns, name, its argument or NULL, commands that have it, help) */
#define CTL_ROWS(ROW)                                                                              \
    ROW(JSON, 0x2001, "json", NULL, CMD_LS | CMD_SHOW | CMD_STATS,                                 \
        "for programs: one JSON object a line, as the server says it, with \"server\" added")      \
    ROW(LOCK, 0x2002, "lock", NULL, CMD_SHOW | CMD_EVICT,                                          \
        "the lock of that key, not the semaphore; evict's default")                                \
    ROW(SEM, 0x2003, "sem", NULL, CMD_SHOW | CMD_EVICT, "the semaphore of that key, not the lock") \
    ROW(FENCE, 0x2004, "fence", "N", CMD_EVICT,                                                    \
        "the holder with this fence; default: who has held it longest")                            \
    ROW(YES, 'y', "yes", NULL, CMD_EVICT, "do not ask")                                            \
    ROW(INTERVAL, 'i', "interval", "SECONDS", CMD_TOP | CMD_PING,                                  \
        "between looks; default: 2 (top), 1 (ping)")                                               \
    ROW(COUNT, 'c', "count", "N", CMD_PING, "how many times; default 1")                           \
    ROW(WAITERS_WARN, 0x2010, "waiters-warn", "N", CMD_CHECK,                                      \
        "WARNING if more than N wait, over all keys of a server")                                  \
    ROW(WAITERS_CRIT, 0x2011, "waiters-crit", "N", CMD_CHECK, "CRITICAL, likewise")                \
    ROW(OLDEST_WAIT_WARN, 0x2012, "oldest-wait-warn", "SECONDS", CMD_CHECK,                        \
        "WARNING if somebody has waited for longer")                                               \
    ROW(OLDEST_WAIT_CRIT, 0x2013, "oldest-wait-crit", "SECONDS", CMD_CHECK, "CRITICAL, likewise")  \
    ROW(TABLE_FILL_WARN, 0x2014, "table-fill-warn", "PERCENT", CMD_CHECK,                          \
        "WARNING if there are more keys than that part of --max-locks")                            \
    ROW(TABLE_FILL_CRIT, 0x2015, "table-fill-crit", "PERCENT", CMD_CHECK, "CRITICAL, likewise")    \
    ROW(CONNECTIONS_WARN, 0x2016, "connections-warn", "N", CMD_CHECK,                              \
        "WARNING if a server has more connections, this one included")                             \
    ROW(CONNECTIONS_CRIT, 0x2017, "connections-crit", "N", CMD_CHECK, "CRITICAL, likewise")        \
    ROW(MAX_LOCKS, 0x2018, "max-locks", "N", CMD_CHECK,                                            \
        "what dflockd was given as --max-locks, which it does not tell; for the fill")

#define CTL_ENUM(id, value, name, arg, commands, help) OPT_##id,
enum { CTL_ROWS(CTL_ENUM) OPT_N };

struct command;

struct ctl {
    const struct command *command; /* NULL until it is known */
    char **args;                   /* behind the command's name */
    int nargs;
    const char *given[OPT_N]; /* options: their arguments, "" if they have none, NULL: not given */
    struct where where;
    dflock_options *options;
    struct asks all; /* the servers */
};

struct command {
    const char *name, *args, *help;
    int bit, min_args, max_args;
    /* Options and arguments that are wrong end the process, before any server is asked. Returns the
       exit status. */
    int (*run)(struct ctl *c);
};

/* Reads the command line; ends the process for --help, --version, and if anything is wrong. */
void ctl_parse(struct ctl *c, int argc, char **argv);

/* Says what is wrong, in a line, and ends the process: for `check` in the form of monitoring
 * plugins. */
_Noreturn void ctl_refuse(const struct ctl *c, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An option that is a number; `otherwise` if it is not given. */
uint64_t ctl_number(const struct ctl *c, int option, uint64_t min, uint64_t otherwise);
double ctl_decimal(const struct ctl *c, int option, double otherwise);

/* The KEY of show and evict, checked; which of the servers has it. */
const char *ctl_key(const struct ctl *c);
size_t ctl_key_server(const struct ctl *c, const char *key);

/* The exit status for an error of the library. */
int ctl_status(int error);

/* Says for each server that failed why; the exit status of the first, 0 if there is none. */
int ctl_failures(const struct ctl *c);

/* Whether any server has answered. */
bool ctl_any_answered(const struct ctl *c);

int ls_run(struct ctl *c);
int show_run(struct ctl *c);
int evict_run(struct ctl *c);
int top_run(struct ctl *c);
int stats_run(struct ctl *c);
int ping_run(struct ctl *c);
int check_run(struct ctl *c);

#endif
