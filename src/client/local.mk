# src/client - libdflock, the client library. Its objects are compiled for a shared library, with
# all names hidden but those in libdflock.map.

noinst_LTLIBRARIES += src/client/libclient.la
src_client_libclient_la_CPPFLAGS = \
	$(AM_CPPFLAGS) \
	$(SSL_CFLAGS) \
	$(CRYPTO_CFLAGS) \
	$(ZLIB_CFLAGS)
src_client_libclient_la_CFLAGS = \
	$(AM_CFLAGS) \
	-fvisibility=hidden
src_client_libclient_la_SOURCES = \
	src/base/clock.c \
	src/base/clock.h \
	src/base/num.c \
	src/base/num.h \
	src/base/random.c \
	src/base/random.h \
	src/client/addr.c \
	src/client/addr.h \
	src/client/asking.c \
	src/client/background.c \
	src/client/blocking.c \
	src/client/channel.c \
	src/client/channel.h \
	src/client/claim.c \
	src/client/claim.h \
	src/client/claimlink.c \
	src/client/claimstate.h \
	src/client/conn.c \
	src/client/dflock.h \
	src/client/driven.c \
	src/client/engine.c \
	src/client/engine.h \
	src/client/error.c \
	src/client/error.h \
	src/client/holding.c \
	src/client/lock.c \
	src/client/lock.h \
	src/client/loss.c \
	src/client/options.c \
	src/client/options.h \
	src/client/reach.c \
	src/client/reach.h \
	src/client/releasing.c \
	src/client/shard.c \
	src/client/thread.c \
	src/client/thread.h \
	src/client/transport.h \
	src/client/wire.c \
	src/client/wire.h
if WITH_TLS
src_client_libclient_la_SOURCES += \
	src/client/tls.c
else
src_client_libclient_la_SOURCES += \
	src/client/tls_none.c
endif

# current:revision:age. Source changed: revision + 1. A function was added: current + 1, revision 0,
# age + 1. One was changed or removed: current + 1, revision 0, age 0, and a new node in the map.
lib_LTLIBRARIES += src/client/libdflock.la
src_client_libdflock_la_SOURCES =
src_client_libdflock_la_LIBADD = $(LINK_CLIENT)
src_client_libdflock_la_LDFLAGS = \
	-pthread \
	-version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/src/client/libdflock.map \
	-Wl,-z,relro \
	-Wl,-z,now \
	$(SANITIZE_FLAGS) \
	$(SANITIZE_LDFLAGS)
EXTRA_src_client_libdflock_la_DEPENDENCIES = src/client/libdflock.map
EXTRA_DIST += src/client/libdflock.map

include_HEADERS += src/client/dflock.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA += src/client/dflock.pc
