/*
 * base/date.h - a time as the calendar has it, for people. UTC.
 *
 * Pure; no gmtime(), which may read files and take locks. Any process, any thread.
 */
#ifndef BASE_DATE_H
#define BASE_DATE_H

#include <stdint.h>

struct date {
    unsigned year, month, day; /* from 1 on */
    unsigned hour, minute, second;
};

/* Of a REALTIME, in ns. */
struct date date_of(uint64_t realtime);

#endif
