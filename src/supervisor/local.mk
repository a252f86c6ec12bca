# src/supervisor - the master: accepts, keeps, restarts; never parses a byte.

noinst_LIBRARIES += src/supervisor/libsupervisor.a
src_supervisor_libsupervisor_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SYSTEMD_CFLAGS)
src_supervisor_libsupervisor_a_SOURCES = \
	src/supervisor/accept.c \
	src/supervisor/adopt.c \
	src/supervisor/adopt.h \
	src/supervisor/apply.c \
	src/supervisor/apply.h \
	src/supervisor/bequest.c \
	src/supervisor/bequest.h \
	src/supervisor/bury.c \
	src/supervisor/child.c \
	src/supervisor/child.h \
	src/supervisor/fence.c \
	src/supervisor/fence.h \
	src/supervisor/fencefile.c \
	src/supervisor/fencefile.h \
	src/supervisor/fencewriter.c \
	src/supervisor/fencewriter.h \
	src/supervisor/httpworker.c \
	src/supervisor/inherit.c \
	src/supervisor/keeper.c \
	src/supervisor/keeper.h \
	src/supervisor/legacy.h \
	src/supervisor/master.c \
	src/supervisor/master.h \
	src/supervisor/master_state.h \
	src/supervisor/notify.c \
	src/supervisor/notify.h \
	src/supervisor/policy.c \
	src/supervisor/policy.h \
	src/supervisor/reload.c \
	src/supervisor/reload.h \
	src/supervisor/resize.c \
	src/supervisor/rundir.c \
	src/supervisor/rundir.h \
	src/supervisor/strangers.c \
	src/supervisor/strangers.h \
	src/supervisor/tell.c \
	src/supervisor/tlscheck.c \
	src/supervisor/tlscheck.h \
	src/supervisor/upgrade.c \
	src/supervisor/upgrade.h \
	src/supervisor/watchdog.c
