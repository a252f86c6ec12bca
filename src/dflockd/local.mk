# src/dflockd - the server: the only directory that sees everything.

sbin_PROGRAMS += src/dflockd/dflockd
src_dflockd_dflockd_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
src_dflockd_dflockd_SOURCES = \
	src/dflockd/checkregion.c \
	src/dflockd/checkregion.h \
	src/dflockd/fsck.c \
	src/dflockd/fsck.h \
	src/dflockd/main.c \
	src/dflockd/origin.c \
	src/dflockd/origin.h \
	src/dflockd/user.c \
	src/dflockd/user.h
src_dflockd_dflockd_LDADD = \
	src/supervisor/libsupervisor.a \
	src/config/libconfig.a \
	$(LINK_WORKER) \
	$(INIH_LIBS) \
	$(SYSTEMD_LIBS)
