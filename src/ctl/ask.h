/*
 * ctl/ask.h - asks several servers at the same time: one that does not answer keeps nobody waiting
 * for the others, and ends in an error within the time that --connect-timeout gives to connecting
 * and to each answer.
 *
 * With each server there is a conversation: a function that is called at first without a reply,
 * then with each reply, and submits the next request or says that it is done. Connections are kept
 * for the next conversation. One thread.
 */
#ifndef CTL_ASK_H
#define CTL_ASK_H

#include "client/dflock.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct ask {
    const char *server; /* its address */
    int error;          /* enum dflock_error of the last conversation; 0: it went well */
    char why[400];      /* in words, with the address */

    dflock_conn *conn;
    bool busy; /* a conversation is under way */
    bool kept; /* on a connection that was idle for so long that the server may have ended it */
    uint64_t until;   /* when its next reply is too late */
    uint64_t sent_at; /* when its last request was given to the connection */
};

enum ask_next { ASK_MORE, ASK_DONE };

/* `reply` NULL: begins (again, if a kept connection turns out to have ended: nothing that was said
   before counts then). ASK_MORE: ask_submit() has been called. */
typedef enum ask_next ask_step_fn(struct ask *a, const struct dflock_reply *reply, void *arg);

struct asks {
    const dflock_options *options;
    double timeout; /* seconds for an answer */
    struct ask *at;
    size_t n;
    ask_step_fn *step;
    void *arg;
};

/* One for each address; nothing is connected. Freed by asks_free(). */
void asks_init(struct asks *all, const char *const *servers, size_t n,
               const dflock_options *options, double timeout);
void asks_free(struct asks *all);

/* In a conversation: what comes next, or that it has failed (both return what the step returns). */
enum ask_next ask_submit(struct ask *a, const char *command, const char *key, const char *arg);
enum ask_next ask_fail(struct ask *a, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Has the conversations with all servers, or with one of them; returns when they have ended. */
void asks_run(struct asks *all, ask_step_fn *step, void *arg);
void asks_run_one(struct asks *all, size_t i, ask_step_fn *step, void *arg);

/* The same by an event loop: begin, poll what asks_poll() fills in (as many as there are servers,
   some with fd -1) for at most what it returns in milliseconds (-1: for ever), process; until
   false. */
void asks_begin(struct asks *all, ask_step_fn *step, void *arg);
int asks_poll(const struct asks *all, struct pollfd *fds);
bool asks_process(struct asks *all);

/* Ends the connections; none may be busy. A server that is told to stop waits
   for those there are. */
void asks_hang_up(struct asks *all);

#endif
