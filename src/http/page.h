/*
 * http/page.h - the status page: one document without anything from outside, read-only.
 */
#ifndef HTTP_PAGE_H
#define HTTP_PAGE_H

struct call;

/* Handler */
void page_serve(struct call *c);

#endif
