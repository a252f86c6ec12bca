# tests/serving

check_PROGRAMS += \
	tests/serving/top_test
tests_serving_top_test_LDADD = $(TAP) $(LINK_SERVING)
