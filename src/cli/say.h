/*
 * cli/say.h - what dflock tells people on stderr: errors always, events with -v, all of it as lines
 * of JSON with --json. Front and guardian both have it.
 *
 * Nothing here ever blocks: the guardian has better things to do than to wait for somebody who does
 * not read. What does not fit is lost.
 *
 * A line of JSON: {"time":SECONDS,"event":"acquired","key":"k","text":"…",…}. time is that of
 * CLOCK_BOOTTIME, by which leases are measured.
 */
#ifndef CLI_SAY_H
#define CLI_SAY_H

#include <stdbool.h>
#include <stdint.h>

struct say_number {
    const char *name; /* NULL: none */
    int64_t value;
};

/* Once, before the rest. */
void say_init(const char *key, bool events, bool json);

/* From here on nothing is said, and stderr is not kept open. */
void say_no_more(void);

/* "dflock: KEY: text". In JSON, the event "error", with the exit code. */
__attribute__((format(printf, 2, 3))) void say_error(int exitcode, const char *format, ...);

/* Only with -v or --json. Up to two numbers, for JSON only. */
__attribute__((format(printf, 4, 5))) void say_event(const char *event, struct say_number a,
                                                     struct say_number b, const char *format, ...);

#define SAY_NONE ((struct say_number){NULL, 0})
#define SAY_NUMBER(name, value) ((struct say_number){name, (int64_t)(value)})

#endif
