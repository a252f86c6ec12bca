# src/bench - dflock-bench: loads a server, measures it and checks what it saw.

# What stands without the client library; its tests are in tests/loadgen.
noinst_LIBRARIES += src/bench/libbench.a
src_bench_libbench_a_SOURCES = \
	src/bench/check.c \
	src/bench/check.h \
	src/bench/histogram.c \
	src/bench/histogram.h
