/*
 * cli/terminal.h - which process group is in the foreground of the terminal. The command has one of
 * its own, so it must be given the terminal, and the job that dflock belongs to gets it back.
 *
 * The caller has SIGTTOU blocked: who is in the background may then say who is in the foreground.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>

struct terminal {
    int fd;       /* -1: there is none */
    pid_t job;    /* the process group of the front */
    bool at_once; /* the command gets it before it asks: stdin and stdout are terminals, so nobody
                     else of a pipeline needs it */
};

/* In the front. */
void terminal_open(struct terminal *t);

/* Whether our job is in the foreground. */
bool terminal_is_ours(const struct terminal *t);

/* Gives it to the group if our job has it. */
void terminal_give(const struct terminal *t, pid_t group);

/* Gives it back to our job if the group has it; true if so. */
bool terminal_take(const struct terminal *t, pid_t group);

#endif
