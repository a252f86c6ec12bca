# src/shm - the core made concurrent: the region, its mutexes, bells and slots.

noinst_LIBRARIES += src/shm/libshm.a
src_shm_libshm_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
src_shm_libshm_a_SOURCES = \
	src/shm/bell.c \
	src/shm/bell.h \
	src/shm/caps.c \
	src/shm/caps.h \
	src/shm/conns.c \
	src/shm/conns.h \
	src/shm/counters.c \
	src/shm/counters.h \
	src/shm/dump.c \
	src/shm/dump.h \
	src/shm/dumpfields.c \
	src/shm/dumpfields.h \
	src/shm/dumpfile.c \
	src/shm/dumpfile.h \
	src/shm/fences.c \
	src/shm/fences.h \
	src/shm/futex.c \
	src/shm/futex.h \
	src/shm/heritage.h \
	src/shm/lock.c \
	src/shm/lock.h \
	src/shm/region.c \
	src/shm/region.h \
	src/shm/shared.c \
	src/shm/shared.h \
	src/shm/undump.c \
	src/shm/undump.h \
	src/shm/undump_conns.c
