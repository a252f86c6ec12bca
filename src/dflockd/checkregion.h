/*
 * dflockd/checkregion.h - `dflockd --check-region WHAT`: could this program go on with that table? It
 * is how a server asks the program that shall replace it, before it gives anything up.
 */
#ifndef DFLOCKD_CHECKREGION_H
#define DFLOCKD_CHECKREGION_H

#include <stdio.h>

/*
 * `what`: the number of a descriptor that was inherited, or a path; of a region or a dump. One line
 * says why or why not. Returns the exit status: EXITCODE_OK (the region can be shared as it is),
 * EXITCODE_IMPORT (the dump can be read; or the one that the region's program writes), EXITCODE_FAIL.
 */
int checkregion_run(const char *what, FILE *out, FILE *err);

#endif
