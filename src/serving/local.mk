# src/serving - what every process that serves clients does: lock workers and the HTTP worker.

noinst_LIBRARIES += src/serving/libserving.a
src_serving_libserving_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS)
src_serving_libserving_a_SOURCES = \
	src/serving/certificate.c \
	src/serving/certificate.h \
	src/serving/holdings.c \
	src/serving/holdings.h \
	src/serving/lifeline.c \
	src/serving/lifeline.h \
	src/serving/newsettings.c \
	src/serving/newsettings.h \
	src/serving/offenders.c \
	src/serving/offenders.h \
	src/serving/op.c \
	src/serving/op.h \
	src/serving/repairs.c \
	src/serving/repairs.h \
	src/serving/report.c \
	src/serving/report.h \
	src/serving/sandbox.c \
	src/serving/sandbox.h \
	src/serving/silence.c \
	src/serving/silence.h \
	src/serving/text.c \
	src/serving/text.h \
	src/serving/top.c \
	src/serving/top.h \
	src/serving/view.c \
	src/serving/view.h
