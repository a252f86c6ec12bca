# tests/fuzz - targets for libFuzzer and AFL++. `make check` builds each with replay.c and runs its
# corpus; `make fuzz` and `make fuzz-afl` build NAME_fuzz in directories of their own and run them
# for FUZZ_SECONDS each (60), those of FUZZ_TARGETS only if that is set: see run.

fuzz_common = \
	tests/fuzz/fuzz.c \
	tests/fuzz/fuzz.h
fuzz_replay = \
	$(fuzz_common) \
	tests/fuzz/replay.c

check_PROGRAMS += \
	tests/fuzz/config_test \
	tests/fuzz/connection_test \
	tests/fuzz/dump_test \
	tests/fuzz/region_test \
	tests/fuzz/reply_test \
	tests/fuzz/request_test
if WITH_HTTP
check_PROGRAMS += \
	tests/fuzz/http_test
endif
fuzz_programs = \
	tests/fuzz/config_fuzz \
	tests/fuzz/connection_fuzz \
	tests/fuzz/dump_fuzz \
	tests/fuzz/http_fuzz \
	tests/fuzz/region_fuzz \
	tests/fuzz/reply_fuzz \
	tests/fuzz/request_fuzz
EXTRA_PROGRAMS += $(fuzz_programs)

tests_fuzz_config_test_SOURCES = $(fuzz_replay) tests/fuzz/config.c
tests_fuzz_config_test_LDADD = $(TAP) $(LINK_CONFIG)
tests_fuzz_config_fuzz_SOURCES = $(fuzz_common) tests/fuzz/config.c
tests_fuzz_config_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_config_fuzz_LDADD = $(LINK_CONFIG)

tests_fuzz_connection_test_SOURCES = $(fuzz_replay) tests/fuzz/connection.c
tests_fuzz_connection_test_LDADD = $(TAP) $(LINK_WORKER) $(LINK_CONFIG)
tests_fuzz_connection_fuzz_SOURCES = $(fuzz_common) tests/fuzz/connection.c
tests_fuzz_connection_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_connection_fuzz_LDADD = $(LINK_WORKER) $(LINK_CONFIG)

tests_fuzz_dump_test_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
tests_fuzz_dump_test_SOURCES = $(fuzz_replay) tests/fuzz/dump.c
tests_fuzz_dump_test_LDADD = $(TAP) $(LINK_SHM)
tests_fuzz_dump_fuzz_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
tests_fuzz_dump_fuzz_SOURCES = $(fuzz_common) tests/fuzz/dump.c
tests_fuzz_dump_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_dump_fuzz_LDADD = $(LINK_SHM)

tests_fuzz_http_test_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_http_test_SOURCES = $(fuzz_replay) tests/fuzz/http.c
tests_fuzz_http_test_LDADD = $(TAP) $(LINK_HTTP)
tests_fuzz_http_fuzz_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_http_fuzz_SOURCES = $(fuzz_common) tests/fuzz/http.c
tests_fuzz_http_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_http_fuzz_LDADD = $(LINK_HTTP)

tests_fuzz_region_test_SOURCES = $(fuzz_replay) tests/fuzz/region.c
tests_fuzz_region_test_LDADD = $(TAP) $(LINK_SHM)
tests_fuzz_region_fuzz_SOURCES = $(fuzz_common) tests/fuzz/region.c
tests_fuzz_region_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_region_fuzz_LDADD = $(LINK_SHM)

tests_fuzz_reply_test_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS) $(CRYPTO_CFLAGS)
tests_fuzz_reply_test_SOURCES = $(fuzz_replay) tests/fuzz/reply.c
tests_fuzz_reply_test_LDADD = $(TAP) $(LINK_CLIENT)
tests_fuzz_reply_fuzz_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS) $(CRYPTO_CFLAGS)
tests_fuzz_reply_fuzz_SOURCES = $(fuzz_common) tests/fuzz/reply.c
tests_fuzz_reply_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_reply_fuzz_LDADD = $(LINK_CLIENT)

tests_fuzz_request_test_SOURCES = $(fuzz_replay) tests/fuzz/request.c tests/proto/same.h
tests_fuzz_request_test_LDADD = $(TAP) $(LINK_PROTO)
tests_fuzz_request_fuzz_SOURCES = $(fuzz_common) tests/fuzz/request.c tests/proto/same.h
tests_fuzz_request_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_request_fuzz_LDADD = $(LINK_PROTO)

# What `run` makes in its own build directory, where FUZZ_ENGINE is set.
fuzz-programs: $(BUILT_SOURCES)
	$(MAKE) $(AM_MAKEFLAGS) $(fuzz_programs)

fuzz fuzz-afl:
	@FUZZ_MODE=$@ FUZZ_TARGETS='$(FUZZ_TARGETS)' FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_PLAIN='$(FUZZ_PLAIN)' \
	    FUZZ_PROGRAMS='$(fuzz_programs)' $(SHELL) '$(abs_top_srcdir)/tests/fuzz/run' \
	    '$(abs_top_srcdir)' '$(abs_top_builddir)'

clean-fuzz:
	rm -rf fuzz

.PHONY: fuzz fuzz-afl fuzz-programs clean-fuzz

# A directory is copied whole.
EXTRA_DIST += \
	tests/fuzz/corpus \
	tests/fuzz/run
