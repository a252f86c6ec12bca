/*
 * http/openapi.h - the API described, from the table of routes.
 */
#ifndef HTTP_OPENAPI_H
#define HTTP_OPENAPI_H

struct call;

/* Handler */
void openapi_serve(struct call *c);

#endif
