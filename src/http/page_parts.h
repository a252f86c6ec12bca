/*
 * http/page_parts.h - what the files that write the status page share. Private to page*.c.
 *
 * Everything is escaped where it is written: keys are any bytes.
 */
#ifndef HTTP_PAGE_PARTS_H
#define HTTP_PAGE_PARTS_H

#include "http/listing.h"
#include "serving/text.h"
#include "serving/view.h"

struct evbuffer;

enum {
    PAGE_PIECES = 3,    /* before the style, up to the script, behind it */
    PAGE_STEP = 32768, /* bytes, or somewhat more, that are written in a step */
};

/* One view of the page, from its query to its text. */
struct page {
    struct http *h;
    struct listing q;
    bool stated; /* the query names a state; else: what is in use */
    bool chosen; /* or an order; else: the longest queue first */
    bool live;   /* the script asks: it has style and script already */
    char *query; /* all of that as it was asked for */
    uint8_t open_kind;
    uint32_t open_len; /* the resource that is shown in full; 0: none */
    char open_key[KEY_MAX];
    /* what was found */
    struct view_walk at;
    struct top *top;
    uint32_t rows;
    struct view_totals totals;
    bool found;         /* the open one is there, */
    bool listed;        /* and among the rows */
    struct view_one one;
    uint64_t now; /* when the last of it was looked at */
    uint64_t day; /* what BOOTTIME lacks to be REALTIME */
    /* the document */
    const char *written; /* up to there in page.html; NULL: not begun */
    uint32_t at_row;
    struct text out;                     /* of this step */
    struct evbuffer *piece[PAGE_PIECES]; /* of those before */
    unsigned at_piece;
};

/* pagetext.c */
/* Bytes as text of HTML, and of its attributes; what is no UTF-8 becomes U+FFFD, what would do more
   than show a sign is written as \xNN. */
void page_escape(struct text *t, const char *bytes, size_t n);
/* The same with those \xNN marked; isolated from the direction of what is around it. */
void page_key(struct text *t, const char *key, size_t n);
void page_number(struct text *t, uint64_t n);                     /* 1,234,567 */
void page_time(struct text *t, uint64_t from, uint64_t to); /* "3 min 5 s" */
/* The same up to now, with the time of day that it is since: BOOTTIME, as all of a page's times are. */
void page_since(struct page *p, uint64_t since);
/* "2026-11-22 08:15:30", with something `between` the two; UTC. */
void page_date(struct page *p, uint64_t since, const char *between);

/* pagestatus.c */
void page_title(struct page *p);
void page_verdict(struct page *p);
void page_tiles(struct page *p);
void page_facts(struct page *p);
void page_workers(struct page *p);

/* pagetable.c */
void page_self(struct page *p); /* its own address */
void page_link_open(struct page *p, unsigned kind, const char *key, uint32_t len);
void page_form(struct page *p);
void page_count(struct page *p);
bool page_is_open(const struct page *p, const struct view_row *r);
void page_open(struct page *p); /* the open resource when it is not among the rows */
void page_heads(struct page *p);
bool page_rows(struct page *p); /* some of them; true: the last of them */
void page_paging(struct page *p);

#endif
