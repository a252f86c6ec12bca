/*
 * cli/tree.h - all descendants of this process, however they were made: what forked twice and made
 * a session of its own included, because this process is a subreaper (PR_SET_CHILD_SUBREAPER).
 *
 * They are found in /proc. A process is signalled by a pidfd that was opened before its start time
 * was read again, so never one that has got the number of a dead one. What cannot be reached: a
 * process that has become another user's, and one that /proc does not show (hidepid).
 */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Children that this process had before: they and what descends from them are left alone. */
struct tree_spared {
    pid_t *pid;
    size_t n;
};

/* Makes this process a subreaper, and checks that /proc can be read. 0 or -errno. */
int tree_adopt(void);

/* The children that there are now, to be spared. 0 or -errno. */
int tree_spare(struct tree_spared *out);

/* Sends the signal to each descendant; returns how many there are that have not ended, or
 * -errno. */
int tree_signal(const struct tree_spared *spared, int signum);

/* Reaps every child that has ended; true: this process has no child any more. */
typedef bool tree_reap_fn(void *arg);

/*
 * One attempt to kill all. From the top: children are killed, and what they leave behind become
 * children, which is faster than any of them can fork. Then those that it cannot reach, below one
 * that does not die: they are stopped, looking again until none is found that has not been, so that
 * nothing new is born meanwhile, and killed. Returns how many were left by then, 0: none, or
 * -errno.
 */
int tree_kill(const struct tree_spared *spared, tree_reap_fn *reap, void *arg);

#endif
