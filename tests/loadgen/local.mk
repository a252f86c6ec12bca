# tests/loadgen - what dflock-bench measures and checks by, without a server. (tests/bench has
# programs that measure.)

LINK_BENCH = src/bench/libbench.a $(LINK_BASE) -lm

check_PROGRAMS += \
	tests/loadgen/check_test \
	tests/loadgen/histogram_test \
	tests/loadgen/simulation_test \
	tests/loadgen/webwire_test
tests_loadgen_check_test_LDADD = $(TAP) $(LINK_BENCH)
tests_loadgen_histogram_test_LDADD = $(TAP) $(LINK_BENCH)
tests_loadgen_simulation_test_LDADD = $(TAP) $(LINK_BENCH)
tests_loadgen_webwire_test_LDADD = $(TAP) $(LINK_BENCH) $(JANSSON_LIBS)
