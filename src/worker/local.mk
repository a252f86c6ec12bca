# src/worker - code that only a lock worker runs.

noinst_LIBRARIES += src/worker/libworker.a
src_worker_libworker_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
src_worker_libworker_a_SOURCES = \
	src/worker/adjust.c \
	src/worker/calls.c \
	src/worker/calls.h \
	src/worker/conn.c \
	src/worker/deliver.c \
	src/worker/expire.c \
	src/worker/handover.c \
	src/worker/inquest.c \
	src/worker/job.c \
	src/worker/loop.c \
	src/worker/orphan.c \
	src/worker/queues.c \
	src/worker/session.c \
	src/worker/takeover.c \
	src/worker/timers.c \
	src/worker/transfer.c \
	src/worker/transfer.h \
	src/worker/worker.h
