# src/http - the worker that serves the HTTP API, the metrics and the status page.

noinst_LIBRARIES += src/http/libhttp.a
src_http_libhttp_a_CPPFLAGS = \
	$(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SSL_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
src_http_libhttp_a_SOURCES = \
	src/http/body.c \
	src/http/body.h \
	src/http/call.c \
	src/http/call.h \
	src/http/calls.c \
	src/http/calls.h \
	src/http/exposition.c \
	src/http/exposition.h \
	src/http/framing.c \
	src/http/framing.h \
	src/http/guard.c \
	src/http/guard.h \
	src/http/http.h \
	src/http/link.c \
	src/http/link.h \
	src/http/locks.c \
	src/http/locks.h \
	src/http/look.c \
	src/http/look.h \
	src/http/metrics.c \
	src/http/metrics.h \
	src/http/openapi.c \
	src/http/openapi.h \
	src/http/page.c \
	src/http/page.h \
	src/http/path.c \
	src/http/path.h \
	src/http/polls.c \
	src/http/polls.h \
	src/http/process.c \
	src/http/routes.c \
	src/http/routes.def \
	src/http/routes.h \
	src/http/server.c \
	src/http/server.h \
	src/http/sessions.c \
	src/http/sessions.h \
	src/http/usage.c \
	src/http/usage.h
