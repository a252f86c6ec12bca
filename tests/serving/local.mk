# tests/serving

check_PROGRAMS += \
	tests/serving/offenders_test \
	tests/serving/top_test
tests_serving_top_test_LDADD = $(TAP) $(LINK_SERVING)
tests_serving_offenders_test_LDADD = $(TAP) $(LINK_SERVING)
