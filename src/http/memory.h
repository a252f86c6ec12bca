/*
 * http/memory.h - what libevent and jansson take, counted where there is none: neither of them always
 * says so. One thread of one process.
 */
#ifndef HTTP_MEMORY_H
#define HTTP_MEMORY_H

/* First of all: what either of them has by then would be freed by another allocator. */
void memory_prepare(void);

/* How often there was none, ever. Whatever was made while this number grew may lack a part. */
unsigned long memory_missed(void);

#endif
