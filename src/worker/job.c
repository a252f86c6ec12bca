/*
 * worker/job.c - long answers: who asked, and how they get them.
 *
 * One report is made at a time, a few bounded steps a turn; all who asked for stats before it began
 * share it (who asks later must see what it did before it asked, and waits for the next).
 *
 * While a report is made its requests are still in the rings: should the worker die, its heir runs
 * them again. A finished report that fits the ring is written there; a longer one becomes a
 * document, a file in memory that belongs to the worker's slot and outlives the worker, and the
 * connection remembers how much of it was sent.
 */
#include "base/log.h"
#include "base/point.h"
#include "proto/reply.h"
#include "serving/report.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STEPS_A_TURN = 4,
    LIST_MAX = 100, /* protocol.md */
    WRITE_CHUNK = 65536,
    WRITES_A_TURN = 4,
};

#define DOC_PATIENCE_NS UINT64_C(10000000000)

struct job {
    enum request_verb verb;
    struct report *report;
    uint32_t doc;     /* being written, 0 = none yet */
    uint64_t written; /* bytes of it */
    bool failed;      /* the document could not be written */
    uint32_t naskers;
    struct asker *askers;
};

int jobs_init(struct jobs *j, uint32_t slots)
{
    j->room = slots;
    j->queue = malloc(slots * sizeof(*j->queue));
    return j->queue ? report_init() : -ENOMEM;
}

static bool still_asks(const struct worker *w, const struct asker *a)
{
    const struct conn *c = conns_slot(w->r, a->slot);

    return w->peers[a->slot].stream.fd > 0 && c->id == a->id && c->state == CONN_OPEN &&
           c->phase == PHASE_JOB;
}

void job_request(struct worker *w, uint32_t slot)
{
    struct jobs *jobs = &w->jobs;
    struct conn *c = conns_slot(w->r, slot);

    /* Those who have left are still in the queue; without them there is room for everybody. */
    if (jobs->n == jobs->room) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < jobs->n; i++)
            if (still_asks(w, &jobs->queue[i]))
                jobs->queue[kept++] = jobs->queue[i];
        jobs->n = kept;
    }
    c->phase = PHASE_JOB;
    jobs->queue[jobs->n++] = (struct asker){.slot = slot, .id = c->id};
}

/* The request that is still first in the ring. */
static bool reparse(struct worker *w, uint32_t slot, struct request *req)
{
    const char *view;
    uint32_t n = conns_view(w->r, conns_slot(w->r, slot), w->scratch, REQUEST_BYTES_MAX, &view);

    return request_parse(view, n, req) == REQUEST_OK;
}

static void free_job(struct job *j)
{
    if (j->report)
        report_free(j->report);
    free(j->askers);
    free(j);
}

static struct report *begin(struct worker *w, const struct request *req)
{
    struct report_query q = {.what = req->verb == VERB_STATS  ? REPORT_STATS
                                     : req->verb == VERB_LIST ? REPORT_LIST
                                                              : REPORT_SHOW,
                             .head = REPLY_JSON_HEAD,
                             .kind = (enum kind)req->kind,
                             .key = req->key,
                             .key_len = req->key_len,
                             .filter = {.kinds = 1 << KIND_LOCK | 1 << KIND_SEM,
                                        .states = VIEW_ANY},
                             .limit = LIST_MAX,
                             .cursor = req->cursor,
                             .cursor_len = req->cursor_len};

    if (req->verb == VERB_LIST) {
        memcpy(q.filter.prefix, req->key, req->key_len);
        q.filter.prefix_len = req->key_len;
    }
    return report_begin(&w->sh, &q, w->now);
}

/* Everybody in the queue who asked for stats shares a job; list and show have one each. */
static struct job *start(struct worker *w)
{
    struct job *j = calloc(1, sizeof(*j));
    struct request req;
    uint32_t kept = 0;

    if (j)
        j->askers = calloc(w->jobs.n, sizeof(*j->askers));
    if (!j || !j->askers) {
        log_error("no memory for a long answer, will try again");
        free(j);
        return NULL;
    }
    for (uint32_t i = 0; i < w->jobs.n; i++) {
        struct asker a = w->jobs.queue[i];

        if (!still_asks(w, &a) || !reparse(w, a.slot, &req))
            continue;
        if (j->naskers > 0 && (req.verb != VERB_STATS || j->verb != VERB_STATS)) {
            w->jobs.queue[kept++] = a;
            continue;
        }
        j->verb = req.verb;
        j->askers[j->naskers++] = a;
        if (!j->report)
            j->report = begin(w, &req);
    }
    w->jobs.n = kept;
    if (j->naskers == 0) {
        free_job(j);
        return NULL;
    }
    return j;
}

int job_doc_fd(const struct worker *w, uint32_t doc)
{
    return w->heritage->docs[doc - 1];
}

void job_adopt(struct worker *w, uint32_t slot)
{
    uint32_t doc = conns_slot(w->r, slot)->doc;

    w->jobs.users[doc - 1]++;
    w->jobs.made[doc - 1] = w->now;
}

static void empty_doc(const struct worker *w, uint32_t doc)
{
    if (SYS(JOB_TRUNCATE, ftruncate(job_doc_fd(w, doc), 0)) < 0)
        log_warn("a document's memory cannot be returned", log_err("error", -errno));
}

static void release_doc(struct worker *w, uint32_t doc)
{
    if (--w->jobs.users[doc - 1] == 0)
        empty_doc(w, doc);
}

void job_release_doc(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    uint32_t doc = c->doc;

    c->doc = 0;
    release_doc(w, doc);
}

void job_stream_done(struct worker *w, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    struct journal *j = &w->sh.slot->journal;
    char *base = region_base(w->r);
    uint32_t doc = c->doc;

    /* The document's bytes count as output, so that the ring's counts stay the stream's. */
    JOURNAL_SET(j, base, c->out_head, c->out_head + c->doc_len);
    JOURNAL_SET(j, base, c->out_tail, c->out_tail + c->doc_len);
    JOURNAL_SET(j, base, c->phase, PHASE_READY);
    JOURNAL_SET(j, base, c->doc, 0);
    JOURNAL_SET(j, base, c->write_since, 0);
    journal_commit(j);
    release_doc(w, doc);
}

/* A document nobody is being sent; when all are in use for long, the slowest readers lose. 0: none
   yet. */
static uint32_t free_doc(struct worker *w)
{
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < HERITAGE_DOCS; i++) {
        if (w->jobs.users[i] == 0)
            return i + 1;
        if (w->jobs.made[i] < w->jobs.made[oldest])
            oldest = i;
    }
    if (w->now - w->jobs.made[oldest] > DOC_PATIENCE_NS)
        for (uint32_t slot = 1; slot <= w->r->max_conns; slot++)
            if (w->peers[slot].stream.fd > 0 && conns_slot(w->r, slot)->doc == oldest + 1)
                conn_drop(w, slot, "reads a long answer too slowly while others wait");
    return 0;
}

static uint64_t size_of(const struct job *j)
{
    return j->report && !j->failed ? report_size(j->report) : 0;
}

/* A few chunks of the document. True when there is nothing more to write. */
static bool write_doc(struct worker *w, struct job *j)
{
    char chunk[WRITE_CHUNK];

    for (unsigned i = 0; i < WRITES_A_TURN && j->written < size_of(j); i++) {
        size_t n = report_read(j->report, j->written, chunk, sizeof(chunk));
        ssize_t done =
            SYS(JOB_WRITE, pwrite(job_doc_fd(w, j->doc), chunk, n, (off_t)j->written));

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            log_error("no memory for a long answer", log_uint("bytes", size_of(j)),
                      log_err("error", -errno));
            j->failed = true;
        } else {
            j->written += (uint64_t)done;
        }
    }
    return j->written >= size_of(j);
}

static void answer(struct worker *w, struct job *j, uint32_t slot)
{
    struct conn *c = conns_slot(w->r, slot);
    struct journal *journal = &w->sh.slot->journal;
    char *base = region_base(w->r);
    uint64_t size = size_of(j);
    struct request req;
    char text[IOBUF_OUT];

    if (!reparse(w, slot, &req))
        __builtin_trap(); /* it was there when the job began, and nobody consumed it */
    if (size == 0) {
        session_answer(w, journal, c, req.consumed, text, reply_word(text, REPLY_ERROR));
        JOURNAL_SET(journal, base, c->phase, PHASE_READY);
    } else if (size <= conns_out_free(c)) {
        report_read(j->report, 0, text, size);
        session_answer(w, journal, c, req.consumed, text, size);
        JOURNAL_SET(journal, base, c->phase, PHASE_READY);
    } else {
        JOURNAL_SET(journal, base, c->in_head, c->in_head + req.consumed);
        JOURNAL_SET(journal, base, c->doc, j->doc);
        JOURNAL_SET(journal, base, c->doc_pos, 0);
        JOURNAL_SET(journal, base, c->doc_len, size);
        JOURNAL_SET(journal, base, c->phase, PHASE_STREAM);
        w->jobs.users[j->doc - 1]++;
        c->write_since = w->now;
    }
    POINT(JOB_ANSWER);
    journal_commit(journal);
    session_count(w, req.row, size == 0 ? REPLY_ERROR : REPLY_OK);
    c->idle_since = w->now;
    loop_ready(w, slot);
}

/* Whether somebody still asks whose ring has no room for the report. */
static bool needs_doc(const struct worker *w, const struct job *j)
{
    for (uint32_t i = 0; i < j->naskers; i++)
        if (still_asks(w, &j->askers[i]) &&
            size_of(j) > conns_out_free(conns_slot(w->r, j->askers[i].slot)))
            return true;
    return false;
}

/* 1: everybody has the answer; 0: call again soon; -1: no document is free, call again later. */
static int answer_all(struct worker *w, struct job *j)
{
    if (!j->report || report_fault(j->report) == REPORT_NO_MEMORY)
        log_error("no memory for a long answer");
    if (size_of(j) > 0 && needs_doc(w, j)) {
        if (!j->doc) {
            j->doc = free_doc(w);
            if (!j->doc)
                return -1;
            w->jobs.made[j->doc - 1] = w->now;
        }
        if (!write_doc(w, j))
            return 0;
    }
    for (uint32_t i = 0; i < j->naskers; i++)
        if (still_asks(w, &j->askers[i]))
            answer(w, j, j->askers[i].slot);
    if (j->doc && w->jobs.users[j->doc - 1] == 0)
        empty_doc(w, j->doc);
    return 1;
}

static bool work(struct worker *w)
{
    struct job *j = w->jobs.active;
    bool whole;
    int done;

    if (!j) {
        j = w->jobs.active = start(w);
        if (!j)
            return w->jobs.n > 0;
    }
    whole = !j->report;
    for (unsigned i = 0; i < STEPS_A_TURN && !whole; i++)
        whole = report_step(&w->sh, j->report, w->now);
    if (!whole)
        return true;
    done = answer_all(w, j);
    if (done <= 0)
        return done == 0;
    free_job(j);
    w->jobs.active = NULL;
    return w->jobs.n > 0;
}

bool job_turn(struct worker *w)
{
    const struct asker *first;
    bool more;

    if (!w->jobs.active && w->jobs.n == 0)
        return false;
    /* Before the job begins the first in the queue is as good a guess as any. */
    first = w->jobs.active ? &w->jobs.active->askers[0] : &w->jobs.queue[0];
    if (still_asks(w, first))
        inquest_name(w, first->slot | SERVING_EXECUTES);
    more = work(w);
    inquest_name(w, 0);
    return more;
}
