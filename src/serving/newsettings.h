/*
 * serving/newsettings.h - other settings, while clients are served. They come from the master as a
 * sealed file in memory.
 */
#ifndef SERVING_NEWSETTINGS_H
#define SERVING_NEWSETTINGS_H

#include "config/tlsfiles.h"

/* What the file holds, and closes it. NULL: it cannot be used, or there is no memory. */
struct served *newsettings_read(int fd);

/* Nothing of a key stays. NULL is nothing. */
void newsettings_free(struct served *s);

#endif
