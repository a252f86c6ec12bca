/*
 * base/io.h - small helpers for descriptors.
 *
 * All return 0 (or a count) or -errno, and go on after EINTR. Any process, any thread; takes no
 * lock and allocates nothing, so it is safe between fork() and exec().
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

int io_set_nonblock(int fd, bool on);
int io_set_cloexec(int fd, bool on);

/* Writes all n bytes. For blocking descriptors: on a full non-blocking one it gives up with
 * -EAGAIN, and how much was written is not known. */
int io_write_full(int fd, const void *data, size_t n);

/* Reads until the end or until the buffer is full; returns the number of bytes. -EFBIG: there was
 * more than `size`; then the buffer holds the first `size` bytes. */
ssize_t io_read_full(int fd, void *buf, size_t size);

/* The same for a file by its name. Pipes and devices are read to their end as well. */
ssize_t io_read_file(const char *path, void *buf, size_t size);

/*
 * Closes every descriptor of this process except those in `keep`, which is sorted in ascending
 * order; doubles are harmless. 0, 1 and 2 are closed too unless they are named. -EINVAL, with
 * nothing closed: not sorted, or negative.
 */
int io_close_all_but(const int *keep_sorted, size_t n);

#endif
