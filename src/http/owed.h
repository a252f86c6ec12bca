/*
 * http/owed.h - bytes of answers that clients have yet to read: how long that may take, and how much
 * may be unread in all. What the kernel has taken is not counted.
 *
 * An answer may take four times --write-timeout, and a second more for each OWED_RATE bytes. Above
 * OWED_MAX no long answer is begun, and those that are read at less than OWED_RATE_CROWDED are ended.
 */
#ifndef HTTP_OWED_H
#define HTTP_OWED_H

#include <stdbool.h>
#include <stdint.h>

struct http;

#define OWED_MAX (UINT64_C(128) << 20)
#define OWED_RATE (UINT64_C(16) << 10) /* bytes a second */
#define OWED_RATE_CROWDED (UINT64_C(1) << 20)

/* Of one answer. */
struct owed {
    uint64_t began; /* BOOTTIME ns */
    uint64_t size, left;
    bool own; /* the bytes are its own, in the sum of all; else whoever lent them counts them */
};

void owed_begin(struct http *h, struct owed *o, uint64_t bytes, bool own);
/* The kernel has taken so many. */
void owed_less(struct http *h, struct owed *o, uint64_t bytes);

/* It takes too long, though it moves. */
bool owed_too_long(const struct http *h, const struct owed *o, uint64_t now);
/* It is to be ended when there is too much in all. */
bool owed_slow(const struct owed *o, uint64_t now);
/* There is too much in all. */
bool owed_crowded(const struct http *h);

#endif
