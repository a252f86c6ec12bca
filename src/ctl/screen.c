/*
 * ctl/screen.c - see screen.h. The sequences are those of ECMA-48 and xterm that the terminals of
 * today have in common.
 *
 * Signals are blocked but while we wait or write, so that a terminal that takes nothing keeps
 * nobody from ending us; a handler only notes which one came.
 */
#include "ctl/screen.h"

#include "ctl/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

/* By number. */
static volatile sig_atomic_t caught[NSIG];

/* What exit() and the signals have to put back. */
static struct {
    bool open;
    bool keys; /* standard input is a terminal as well */
    struct termios before;
    sigset_t blocked, waiting;
} screen;

bool screen_usable(void)
{
    const char *kind = getenv("TERM");

    return isatty(STDOUT_FILENO) && kind != NULL && strcmp(kind, "dumb") != 0;
}

static void note(int signum)
{
    caught[signum] = 1;
}

/* 0, or -1: gone, or a signal wants to be heard first. */
static int put(const char *text, size_t n)
{
    ssize_t done = 0;

    sigprocmask(SIG_SETMASK, &screen.waiting, NULL);
    for (size_t at = 0; at < n && done >= 0; at += (size_t)done)
        done = write(STDOUT_FILENO, text + at, n - at);
    sigprocmask(SIG_SETMASK, &screen.blocked, NULL);
    return done < 0 ? -1 : 0;
}

static void enter(void)
{
    if (screen.keys) {
        struct termios raw = screen.before;

        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_iflag &= ~(tcflag_t)IXON; /* Ctrl-S would keep us from giving the screen back */
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    put(ENTER, strlen(ENTER));
}

static void leave(void)
{
    int tries = 3; /* each signal may keep us from it once */

    while (put(LEAVE, strlen(LEAVE)) != 0 && errno == EINTR && --tries > 0)
        ;
    if (screen.keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

void screen_close(void)
{
    if (!screen.open)
        return;
    screen.open = false;
    leave();
    for (int i = 0; i < SIGNALS; i++)
        signal(signals[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &screen.waiting, NULL);
}

int screen_open(void)
{
    struct sigaction action = {.sa_handler = note}; /* not SA_RESTART */

    screen.keys = isatty(STDIN_FILENO) != 0;
    if (screen.keys && tcgetattr(STDIN_FILENO, &screen.before) != 0)
        return -1;
    sigemptyset(&screen.blocked);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&screen.blocked, signals[i]);
    if (sigprocmask(SIG_BLOCK, &screen.blocked, &screen.waiting) != 0)
        return -1;
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction was;

        /* Who ignores a signal for us (nohup) goes on being obeyed. */
        if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    screen.open = true;
    if (atexit(screen_close) != 0)
        return -1;
    enter();
    return 0;
}

void screen_size(size_t *rows, size_t *columns)
{
    struct winsize size;

    *rows = 24;
    *columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        *rows = size.ws_row;
        *columns = size.ws_col;
    }
}

int screen_draw(char *const *lines, size_t n)
{
    char *text = NULL;
    size_t len;
    FILE *out = text_memory(open_memstream(&text, &len));
    int err;

    fputs("\033[H", out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s%s\033[0m\033[K", i > 0 ? "\r\n" : "", lines[i]);
    fputs("\033[J", out);
    if (fclose(out) != 0)
        text_memory(NULL);
    err = put(text, len);
    free(text);
    /* A signal: screen_wait() sees to it, and has it drawn again. */
    return err != 0 && errno != EINTR ? -1 : 0;
}

/* As if we did not know of it: the process stops, or, with nobody to continue it, goes on. */
static void stop(void)
{
    sigset_t only;
    struct sigaction ours;

    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    leave();
    sigaction(SIGTSTP, NULL, &ours);
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    sigprocmask(SIG_BLOCK, &only, NULL);
    sigaction(SIGTSTP, &ours, NULL);
}

/* Ends or stops the process if a signal wants that. True: draw again. */
static bool obey(void)
{
    bool again = false;

    for (int i = 0; i < SIGNALS; i++) {
        int s = signals[i];

        if (!caught[s])
            continue;
        caught[s] = 0;
        again = true;
        if (s == SIGTSTP) {
            stop();
            enter();
        } else if (s == SIGCONT) {
            enter(); /* whoever had the terminal meanwhile may have changed it */
        } else if (s != SIGWINCH) {
            screen_close();
            raise(s);
        }
    }
    return again;
}

static int read_key(void)
{
    unsigned char key;
    ssize_t n = read(STDIN_FILENO, &key, 1);

    if (n == 1)
        return key == 0 ? SCREEN_NOTHING : key;
    return n < 0 && (errno == EINTR || errno == EAGAIN) ? SCREEN_NOTHING : SCREEN_GONE;
}

/* A signal came while we wrote; another one cannot before we wait. */
static bool any_caught(void)
{
    for (int i = 0; i < SIGNALS; i++)
        if (caught[signals[i]])
            return true;
    return false;
}

int screen_wait(struct pollfd *fds, size_t n, int timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};

    fds[n] = (struct pollfd){.fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN};
    if (!any_caught())
        (void)ppoll(fds, n + 1, timeout_ms >= 0 ? &timeout : NULL, &screen.waiting);
    if (obey())
        return SCREEN_REDRAW;
    return fds[n].revents != 0 ? read_key() : SCREEN_NOTHING;
}
