/*
 * dflockd/checkregion.h - `dflockd --check-region WHAT`: could this program go on with that table?
 * It is how a server asks the program that shall replace it, before it gives anything up.
 */
#ifndef DFLOCKD_CHECKREGION_H
#define DFLOCKD_CHECKREGION_H

#include "shm/region.h"

#include <stdio.h>

/*
 * `what`: the number of a descriptor that was inherited, or a path; of a region or a dump. One line
 * says why or why not. Returns the exit status: EXITCODE_OK (the region can be shared as it is),
 * EXITCODE_IMPORT (the dump can be read into a region of these limits; or this program reads dumps as
 * the region's own writes them), EXITCODE_FAIL.
 */
int checkregion_run(const char *what, const struct region_limits *limits, FILE *out, FILE *err);

#endif
