# src/http - the worker that serves the HTTP API, the metrics and the status page.

if WITH_HTTP
noinst_LIBRARIES += src/http/libhttp.a
src_http_libhttp_a_CPPFLAGS = \
	$(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SSL_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
src_http_libhttp_a_SOURCES = \
	src/http/auth.c \
	src/http/auth.h \
	src/http/body.c \
	src/http/body.h \
	src/http/call.c \
	src/http/call.h \
	src/http/calls.c \
	src/http/calls.h \
	src/http/cors.c \
	src/http/cors.h \
	src/http/exposition.c \
	src/http/exposition.h \
	src/http/framing.c \
	src/http/framing.h \
	src/http/guard.c \
	src/http/guard.h \
	src/http/http.h \
	src/http/linger.c \
	src/http/linger.h \
	src/http/link.c \
	src/http/link.h \
	src/http/listing.c \
	src/http/listing.h \
	src/http/locks.c \
	src/http/locks.h \
	src/http/look.c \
	src/http/look.h \
	src/http/memory.c \
	src/http/memory.h \
	src/http/metrics.c \
	src/http/metrics.h \
	src/http/openapi.c \
	src/http/openapi.h \
	src/http/owed.c \
	src/http/owed.h \
	src/http/page.c \
	src/http/page.h \
	src/http/page_parts.h \
	src/http/pagestatus.c \
	src/http/pagetable.c \
	src/http/pagetext.c \
	src/http/path.c \
	src/http/path.h \
	src/http/polls.c \
	src/http/polls.h \
	src/http/process.c \
	src/http/routes.c \
	src/http/routes.def \
	src/http/routes.h \
	src/http/secure.h \
	src/http/server.c \
	src/http/server.h \
	src/http/sessions.c \
	src/http/sessions.h \
	src/http/tasks.c \
	src/http/tasks.h \
	src/http/usage.c \
	src/http/usage.h
if WITH_TLS
src_http_libhttp_a_SOURCES += \
	src/http/secure.c
else
src_http_libhttp_a_SOURCES += \
	src/http/secure_none.c
endif
http_sources = $(src_http_libhttp_a_SOURCES)
else
http_sources =
endif

# The status page's document, style and script, as C.
page_files = \
	src/http/page/page.css \
	src/http/page/page.html \
	src/http/page/page.js
EXTRA_DIST += $(page_files)
if WITH_HTTP
BUILT_SOURCES += src/http/page/assets.h
endif
CLEANFILES += src/http/page/assets.h
src/http/page/assets.h: $(page_files)
	$(AM_V_GEN)$(MKDIR_P) src/http/page && { \
	for type in css html js; do \
	  echo "static const unsigned char page_$$type[] = {"; \
	  od -An -v -tx1 $(srcdir)/src/http/page/page.$$type | $(SED) 's/[0-9a-f][0-9a-f]/0x&,/g'; \
	  echo "0};"; \
	done; } > $@.new && mv $@.new $@
