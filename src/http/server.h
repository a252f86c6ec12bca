/*
 * http/server.h - evhttp: the listening sockets, TLS, its limits.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

struct http;
struct tls_files;

/* Before libevent is used for anything. */
void server_prepare(void);

/* Accepts from all listening sockets of the heritage. 0 or a negative error. */
int server_start(struct http *h);

/* Handshakes to come use these files (NULL, or empty: plain). 0 or a negative error: as before. */
int server_use_tls(struct http *h, const struct tls_files *files);

/* After libevent has run: what it could not watch is watched after all, what it could not read, read. */
void server_mend(struct http *h);

/* Now and then: who could not be accepted from is tried again. */
void server_tick(struct http *h);

#endif
