# tests/bench - how far from the limit, and beside what people use: `make bench`; what a death
# costs: `make bench-kill`. Not part of `make check`.

EXTRA_PROGRAMS += \
	tests/bench/core \
	tests/bench/crowd \
	tests/bench/echo \
	tests/bench/echotls \
	tests/bench/flood \
	tests/bench/kill \
	tests/bench/load \
	tests/bench/token
tests_bench_echo_SOURCES = \
	tests/bench/echo.c \
	tests/bench/echo.h \
	tests/bench/echoserve.c
tests_bench_echotls_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS)
tests_bench_echotls_SOURCES = \
	tests/bench/echo.h \
	tests/bench/echoserve.c \
	tests/bench/echotls.c
tests_bench_echotls_LDADD = $(SSL_LIBS) $(CRYPTO_LIBS)
tests_bench_load_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS)
tests_bench_load_SOURCES = \
	tests/bench/load.c \
	tests/bench/load.h \
	tests/bench/loadlink.c \
	tests/bench/loadrun.c \
	tests/bench/loadtls.h \
	tests/bench/loadwire.c \
	tests/bench/loadwork.c
if WITH_TLS
tests_bench_load_SOURCES += tests/bench/loadtls.c
else
tests_bench_load_SOURCES += tests/bench/loadtls_none.c
endif
tests_bench_load_LDADD = \
	src/bench/libbench.a \
	$(LINK_BASE) \
	$(SSL_LIBS) \
	$(CRYPTO_LIBS) \
	-lm
tests_bench_flood_LDADD = $(LINK_BASE)
tests_bench_token_LDADD = src/bench/libbench.a -lm

tests_bench_core_LDADD = $(LINK_SERVING) $(JANSSON_LIBS)

# Programs that rows of the benchmark run, and their modules.
bench_programs = \
	tests/bench/core \
	tests/bench/crowd \
	tests/bench/echo \
	tests/bench/flood \
	tests/bench/load \
	tests/bench/token \
	tests/bench/unguarded
if WITH_TLS
bench_programs += tests/bench/echotls
endif
bench_modules = \
	tests/bench/bench.py \
	tests/bench/rows_floods.py \
	tests/bench/rows_peers.py \
	tests/bench/rows_scale.py \
	tests/bench/servers.py \
	tests/bench/suite.py
EXTRA_DIST += \
	$(bench_modules)

CLEANFILES += \
	bench.json

# Some minutes, fifteen at most. BENCH_FLAGS=--quick sees whether it works, BENCH_FLAGS=--help says what
# else there is.
.PHONY: bench
bench: src/dflockd/dflockd $(bench_programs)
	$(PYTHON) $(top_srcdir)/tests/bench/suite.py $(BENCH_FLAGS)

# Where the workers' time goes: a flame graph.
EXTRA_DIST += \
	tests/bench/flame.py
CLEANFILES += \
	flame.svg

.PHONY: bench-flame
bench-flame: src/dflockd/dflockd $(bench_programs)
	$(PYTHON) $(top_srcdir)/tests/bench/flame.py . flame.svg

# For the row `guard`: the same server without journal, robust mutexes and marks.
EXTRA_PROGRAMS += \
	tests/bench/unguarded
tests_bench_unguarded_CPPFLAGS = $(server_cppflags) -DUNGUARDED
tests_bench_unguarded_SOURCES = $(server_sources)
tests_bench_unguarded_LDADD = $(server_libs)

EXTRA_DIST += \
	tests/bench/http_polls.py \
	tests/bench/kill.py

.PHONY: bench-kill
bench-kill: src/dflockd/dflockd tests/bench/kill
	$(PYTHON) $(top_srcdir)/tests/bench/kill.py tests/bench/kill src/dflockd/dflockd

# What the client library costs: `make bench-client`.
EXTRA_PROGRAMS += \
	tests/bench/client
EXTRA_DIST += \
	tests/bench/client.py
tests_bench_client_CPPFLAGS = $(CLIENT_CPPFLAGS)
tests_bench_client_LDADD = src/client/libdflock.la

.PHONY: bench-client
bench-client: src/dflockd/dflockd tests/bench/client
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/bench/client.py tests/bench/client

# What an operation over HTTP costs beside the library's own work: `make bench-http`.
EXTRA_DIST += \
	tests/bench/http_ops.lua \
	tests/bench/http_ops.py

.PHONY: bench-http
bench-http: src/dflockd/dflockd
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/bench/http_ops.py src/dflockd/dflockd

# What thousands of long polls of HTTP cost: `make bench-polls`, on a machine that has nothing else to do.
.PHONY: bench-polls
bench-polls: src/dflockd/dflockd
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/bench/http_polls.py
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/bench/http_polls.py --tls

# Which cache lines workers share: `make bench-lines`. The server once more, with a call at each load
# and store (tests/bench/lines/trace.c); the sanitizer itself is not linked, nor anything of it.
EXTRA_LIBRARIES = \
	tests/bench/lines/libtraced.a
EXTRA_PROGRAMS += \
	tests/bench/lines/lines
EXTRA_DIST += \
	tests/bench/lines/lines.py
tests_bench_lines_libtraced_a_CPPFLAGS = $(server_cppflags) \
	-U_FORTIFY_SOURCE -fno-builtin -fsanitize=thread -Wno-unknown-warning-option -Wno-tsan
tests_bench_lines_libtraced_a_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	$(src_proto_libproto_a_SOURCES) \
	$(src_net_libnet_a_SOURCES) \
	$(src_serving_libserving_a_SOURCES) \
	$(src_worker_libworker_a_SOURCES)
tests_bench_lines_lines_CPPFLAGS = $(server_cppflags)
tests_bench_lines_lines_SOURCES = \
	tests/bench/lines/baton.c \
	tests/bench/lines/cache.c \
	tests/bench/lines/client.c \
	tests/bench/lines/fields.c \
	tests/bench/lines/main.c \
	tests/bench/lines/sim.h \
	tests/bench/lines/trace.c \
	tests/bench/lines/world.c
tests_bench_lines_lines_LDADD = \
	tests/bench/lines/libtraced.a \
	$(LINK_CONFIG) \
	$(server_libs)
tests_bench_lines_lines_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=bell_start_thread \
	-Wl,--wrap=clock_boottime_ns \
	-Wl,--wrap=epoll_ctl \
	-Wl,--wrap=epoll_pwait2 \
	-Wl,--wrap=futex_wake \
	-Wl,--wrap=memchr \
	-Wl,--wrap=memcmp \
	-Wl,--wrap=memcpy \
	-Wl,--wrap=memmove \
	-Wl,--wrap=memset \
	-Wl,--wrap=pthread_mutex_clocklock \
	-Wl,--wrap=pthread_mutex_trylock \
	-Wl,--wrap=pthread_mutex_unlock \
	-Wl,--wrap=sandbox_seal \
	-Wl,--wrap=sandbox_start \
	-Wl,--wrap=stream_position \
	-Wl,--wrap=syscall

.PHONY: bench-lines
bench-lines: tests/bench/lines/lines
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/bench/lines/lines.py \
		tests/bench/lines/lines
