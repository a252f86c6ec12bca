/*
 * serving/repairs.h - what this process had to repair in the table, counted and logged. Once a
 * turn: under a shard's lock nothing is logged.
 */
#ifndef SERVING_REPAIRS_H
#define SERVING_REPAIRS_H

#include "shm/shared.h"

void repairs_log(struct shared *sh);

#endif
