# tests/systemd - the service in a container with a real systemd. Not part of check: it wants root,
# debootstrap and systemd-nspawn. TAP, and a .trs for tests/tally, like all others.

EXTRA_DIST += \
	tests/systemd/comeback.py \
	tests/systemd/container.py \
	tests/systemd/systemd_test.py

EXTRA_PROGRAMS += tests/systemd/plain
check_DATA += tests/systemd/plain
tests_systemd_plain_CPPFLAGS = $(src_dflockd_dflockd_CPPFLAGS)
tests_systemd_plain_SOURCES = \
	$(src_dflockd_dflockd_SOURCES) \
	tests/systemd/plain.c
tests_systemd_plain_LDADD = $(src_dflockd_dflockd_LDADD)

check-systemd:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS=tests/systemd/systemd_test.py
.PHONY: check-systemd

distclean-local:
	-rm -rf tests/systemd/container tests/systemd/systemd_test.log tests/systemd/systemd_test.trs
