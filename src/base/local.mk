# src/base - the leaf layer: errors, log, clock, numbers, hash, buffers; knows nothing of locks.

noinst_LIBRARIES += src/base/libbase.a
src_base_libbase_a_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
src_base_libbase_a_SOURCES = \
	src/base/clock.c \
	src/base/clock.h \
	src/base/confine.c \
	src/base/confine.h \
	src/base/date.c \
	src/base/date.h \
	src/base/err.c \
	src/base/err.h \
	src/base/io.c \
	src/base/io.h \
	src/base/log.c \
	src/base/log.h \
	src/base/logline.c \
	src/base/logline.h \
	src/base/num.c \
	src/base/num.h \
	src/base/point.c \
	src/base/point.h \
	src/base/points.def \
	src/base/process.c \
	src/base/process.h \
	src/base/random.c \
	src/base/random.h \
	src/base/siphash.c \
	src/base/siphash.h \
	src/base/utf8.c \
	src/base/utf8.h
