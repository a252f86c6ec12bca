/*
 * base/date.c - see date.h.
 */
#include "base/date.h"

#include "base/clock.h"

/* The date is counted in eras of 400 years that begin in March, so that the leap day is the last of
   its year. */
struct date date_of(uint64_t realtime)
{
    uint64_t s = realtime / NS_PER_SEC;
    uint64_t day = s / 86400 + 719468; /* since 0000-03-01 */
    uint64_t era = day / 146097;
    uint64_t in_era = day % 146097;
    uint64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * in_year + 2) / 153; /* 0 is March */

    return (struct date){
        .year = (unsigned)(era * 400 + year + (month >= 10)),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(in_year - (153 * month + 2) / 5 + 1),
        .hour = (unsigned)(s / 3600 % 24),
        .minute = (unsigned)(s / 60 % 60),
        .second = (unsigned)(s % 60),
    };
}
