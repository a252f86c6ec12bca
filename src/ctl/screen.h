/*
 * ctl/screen.h - a terminal that is drawn upon: its size, keys without Enter, and that it is as
 * before whatever ends the process: a key, an error, a signal but SIGKILL. One in a process; one
 * thread.
 */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether standard output is a terminal that can be drawn upon. */
bool screen_usable(void);

/* From here to screen_close() (or exit()) the terminal is ours. -1: with errno. */
int screen_open(void);
void screen_close(void);

/* Of the terminal as it is now. */
void screen_size(size_t *rows, size_t *columns);

/* `lines` from the top on, cut by the caller to what fits; what was below is cleared. -1: the
   terminal is gone. */
int screen_draw(char *const *lines, size_t n);

enum { SCREEN_NOTHING = 0, SCREEN_REDRAW = -1, SCREEN_GONE = -2 };

/*
 * Waits for the n descriptors (there is room for one more), at most timeout_ms (-1: for ever), for
 * keys and for signals. Returns a key that was pressed, SCREEN_NOTHING, SCREEN_REDRAW after a stop
 * or another size, or SCREEN_GONE. A signal to end puts the terminal back and ends the process by
 * that signal; Ctrl-Z puts it back and stops.
 */
int screen_wait(struct pollfd *fds, size_t n, int timeout_ms);

#endif
