# src/http - the worker that serves the HTTP API, the metrics and the status page.

noinst_LIBRARIES += src/http/libhttp.a
src_http_libhttp_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
src_http_libhttp_a_SOURCES = \
	src/http/calls.c \
	src/http/calls.h \
	src/http/http.h \
	src/http/process.c
