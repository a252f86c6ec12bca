# tests/base

check_PROGRAMS += \
	tests/base/clock_test \
	tests/base/err_test \
	tests/base/io_test \
	tests/base/log_test \
	tests/base/num_test \
	tests/base/process_test \
	tests/base/siphash_test \
	tests/base/utf8_test
tests_base_clock_test_LDADD = $(TAP) $(LINK_BASE)
tests_base_err_test_LDADD = $(TAP) $(LINK_BASE)
tests_base_io_test_LDADD = $(TAP) $(LINK_BASE)
tests_base_log_test_LDADD = $(TAP) $(LINK_BASE)
tests_base_num_test_LDADD = $(TAP) $(LINK_BASE)
tests_base_process_test_LDADD = $(TAP) $(LINK_BASE)
# OpenSSL is the oracle.
tests_base_siphash_test_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
tests_base_siphash_test_LDADD = $(TAP) $(LINK_BASE) $(CRYPTO_LIBS)
tests_base_utf8_test_LDADD = $(TAP) $(LINK_BASE)
