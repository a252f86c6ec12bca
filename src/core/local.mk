# src/core - the lock table, pure: a block of memory in, outcomes out.

noinst_LIBRARIES += src/core/libcore.a
src_core_libcore_a_SOURCES = \
	src/core/check.c \
	src/core/check.h \
	src/core/holder.c \
	src/core/holder.h \
	src/core/journal.c \
	src/core/journal.h \
	src/core/keymap.c \
	src/core/keymap.h \
	src/core/layout.c \
	src/core/layout.h \
	src/core/leases.c \
	src/core/leases.h \
	src/core/loss.c \
	src/core/loss.h \
	src/core/owners.c \
	src/core/owners.h \
	src/core/pool.c \
	src/core/pool.h \
	src/core/promise.c \
	src/core/promise.h \
	src/core/queue.c \
	src/core/queue.h \
	src/core/repair.c \
	src/core/repair.h \
	src/core/snapshot.c \
	src/core/snapshot.h \
	src/core/spare.c \
	src/core/spare.h \
	src/core/table.c \
	src/core/table.h \
	src/core/tally.c \
	src/core/tally.h
