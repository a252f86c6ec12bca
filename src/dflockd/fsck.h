/*
 * dflockd/fsck.h - `dflockd --fsck FILE`: is a saved lock table whole?
 */
#ifndef DFLOCKD_FSCK_H
#define DFLOCKD_FSCK_H

#include <stdio.h>

/* Prints what is broken and where; changes nothing. Returns the exit status: EXITCODE_OK only when
   nothing is. */
int fsck_run(const char *path, FILE *out, FILE *err);

#endif
