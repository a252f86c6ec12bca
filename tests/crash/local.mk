# tests/crash - the whole server once more, with the places of base/point.h in it: the tests
# tests/e2e/crash_*_test.py end it there. Not installed.

EXTRA_PROGRAMS += \
	tests/crash/dflockd \
	tests/crash/scribble
check_DATA += \
	tests/crash/dflockd \
	tests/crash/scribble
tests_crash_dflockd_CPPFLAGS = $(server_cppflags) -DCRASH_POINTS
tests_crash_dflockd_SOURCES = $(server_sources) \
	tests/crash/escape.c
tests_crash_dflockd_LDADD = $(server_libs)
tests_crash_scribble_LDADD = $(LINK_SHM)
