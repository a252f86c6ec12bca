/*
 * worker/transfer.h - bytes between a connection's socket and its rings in the region.
 */
#ifndef WORKER_TRANSFER_H
#define WORKER_TRANSFER_H

#include "worker/worker.h"

/* Sends what is in the output ring, as far as the kernel takes it. */
void transfer_flush(struct worker *w, uint32_t slot);

/* The socket took less than there was: the write deadline runs. */
void transfer_full(struct worker *w, uint32_t slot);

/* Receives once into the input ring. True when something changed: bytes, or the end of input. */
bool transfer_read(struct worker *w, uint32_t slot);

/* PHASE_STREAM: sends the next part of the document. True when something moved. */
bool transfer_document(struct worker *w, uint32_t slot);

/* Whether the peer has taken anything since a write last found the socket full. */
bool transfer_reads_slowly(struct peer *p);

#endif
