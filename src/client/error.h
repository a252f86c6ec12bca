/*
 * client/error.h - how a call of the library fails: a code, and words for the calling thread.
 *
 * What happens deeper down, perhaps in another thread, is kept in a struct failure until a call
 * returns it: failure_raise() makes it the thread's dflock_error_text(). Any thread; takes no lock.
 */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

enum { FAILURE_TEXT_MAX = 320 };

/* Why something ended; code 0: it has not failed. */
struct failure {
    int code;
    char text[FAILURE_TEXT_MAX];
};

/* Returns `code`. The first cause counts: one that is there already is kept, and its code returned. */
int failure_set(struct failure *f, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void failure_clear(struct failure *f);

/* The text becomes "CALL: TEXT" for this thread; returns f->code. */
int failure_raise(const struct failure *f, const char *call);

/* The same without a struct; returns `code`. */
int error_raise(int code, const char *call, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* strerror() for any thread; valid until the thread's next call. */
const char *error_errno(int errnum);

#endif
