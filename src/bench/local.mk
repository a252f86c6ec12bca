# src/bench - dflock-bench: a load for servers, measured and checked.

bin_PROGRAMS += src/bench/dflock-bench
noinst_LIBRARIES += src/bench/libbench.a

# What stands without the client library; its tests are in tests/loadgen.
src_bench_libbench_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
src_bench_libbench_a_SOURCES = \
	src/bench/check.c \
	src/bench/check.h \
	src/bench/histogram.c \
	src/bench/histogram.h \
	src/bench/webwire.c \
	src/bench/webwire.h

src_bench_dflock_bench_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
src_bench_dflock_bench_SOURCES = \
	src/bench/driver.c \
	src/bench/driver.h \
	src/bench/link.c \
	src/bench/link.h \
	src/bench/main.c \
	src/bench/op.c \
	src/bench/op.h \
	src/bench/options.c \
	src/bench/options.h \
	src/bench/plan.c \
	src/bench/plan.h \
	src/bench/report.c \
	src/bench/report.h \
	src/bench/run.c \
	src/bench/run.h \
	src/bench/web.c \
	src/bench/web.h
src_bench_dflock_bench_LDADD = \
	src/bench/libbench.a \
	$(LINK_WHERE) \
	$(JANSSON_LIBS) \
	-lm
