# tests/failing - calls that fail at their n-th time: failing.c is compiled and preloaded by
# tests/e2e/failing.py.

EXTRA_DIST += \
	tests/failing/failing.c \
	tests/failing/user.c

# A few calls of each kind fail in `make check`; here each does, in turn, until none is left.
failing_tests = \
	tests/e2e/failing_library_test.py \
	tests/e2e/failing_server_test.py

FAILING_TESTS = $(failing_tests)

.PHONY: failing
failing: src/dflockd/dflockd
	$(AM_TESTS_ENVIRONMENT) status=0; \
	for t in $(FAILING_TESTS); do \
		DFLOCKD_FAILING_ALL=1 $(PYTHON) $(top_srcdir)/$$t || status=1; \
	done; exit $$status
