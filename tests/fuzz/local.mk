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
	tests/fuzz/region_test \
	tests/fuzz/request_test
fuzz_programs = \
	tests/fuzz/region_fuzz \
	tests/fuzz/request_fuzz
EXTRA_PROGRAMS += $(fuzz_programs)

tests_fuzz_region_test_SOURCES = $(fuzz_replay) tests/fuzz/region.c
tests_fuzz_region_test_LDADD = $(TAP) $(LINK_SHM)
tests_fuzz_region_fuzz_SOURCES = $(fuzz_common) tests/fuzz/region.c
tests_fuzz_region_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_region_fuzz_LDADD = $(LINK_SHM)

fuzz_request = \
	tests/fuzz/request.c \
	tests/proto/same.h
tests_fuzz_request_test_SOURCES = $(fuzz_replay) $(fuzz_request)
tests_fuzz_request_test_LDADD = $(TAP) $(LINK_PROTO)
tests_fuzz_request_fuzz_SOURCES = $(fuzz_common) $(fuzz_request)
tests_fuzz_request_fuzz_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_ENGINE)
tests_fuzz_request_fuzz_LDADD = $(LINK_PROTO)

# What `run` makes in its own build directory, where FUZZ_ENGINE is set.
fuzz-programs: $(fuzz_programs)

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
