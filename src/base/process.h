/*
 * base/process.h - what proc(5) says of a process in /proc/PID/stat.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_TEXT_MAX = 1024 }; /* bytes of the file in which all of this is */

struct process_stat {
    char name[64];    /* of a thread of the kernel's it may be long; cut */
    char state;       /* R runnable, S sleeps, D waits for a disk, T stopped, Z has ended, … */
    pid_t parent;
    uint64_t ran;     /* ns of a processor, its own and the kernel's for it; as exact as a tick */
    uint64_t started; /* clock ticks since the system's start: with the pid, who it is */
    uint64_t mapped;  /* bytes */
    uint64_t resident; /* bytes */
};

/* 0 or a negative errno: -ENOENT, it is not there, or not shown (hidepid). */
int process_read(pid_t pid, struct process_stat *out);

/* The file's text, of `n` bytes; false: it is none. `text` has room for one byte more. */
bool process_parse(char *text, size_t n, struct process_stat *out);

/* Clock ticks in ns. */
uint64_t process_ticks_ns(uint64_t ticks);

#endif
