# tests/soak - chaos: a load, a checker of what it saw, and who kills workers meanwhile.
# `make check` runs a minute of it, `make soak SECONDS=… SEED=…` as much as is asked for.

EXTRA_PROGRAMS += \
	tests/soak/checker \
	tests/soak/soak
tests_soak_checker_SOURCES = \
	tests/soak/check.h \
	tests/soak/checker.c \
	tests/soak/history.c \
	tests/soak/history.h \
	tests/soak/judge.c \
	tests/soak/keys.c \
	tests/soak/tables.c
tests_soak_soak_SOURCES = \
	tests/soak/client.h \
	tests/soak/history.c \
	tests/soak/history.h \
	tests/soak/script.c \
	tests/soak/soak.c

# Not check_PROGRAMS: those are tests.
check_DATA += \
	tests/soak/checker \
	tests/soak/soak

soak_tests = \
	tests/soak/checker_test.py \
	tests/soak/soak_test.py
TESTS += $(soak_tests)
EXTRA_DIST += \
	$(soak_tests) \
	tests/soak/soak.py

SECONDS = 300
SEED =
SOAK_FLAGS =

.PHONY: soak
soak: src/dflockd/dflockd tests/soak/checker tests/soak/soak
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/soak/soak.py --seconds '$(SECONDS)' \
		`test -z "$(SEED)" || echo --seed "$(SEED)"` $(SOAK_FLAGS)
