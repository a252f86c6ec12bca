# tests/cli: what of dflock is pure. The rest is tested as it runs, in tests/e2e/dflock_*_test.py.

check_PROGRAMS += \
	tests/cli/lease_test
tests_cli_lease_test_SOURCES = \
	src/cli/lease.c \
	tests/cli/lease_test.c
tests_cli_lease_test_LDADD = $(TAP) $(LINK_BASE)
