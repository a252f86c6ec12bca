# tests/packaging - what is released, and what is made of it. Not part of check: they build all of it
# again. TAP, and a .trs for tests/tally, like all others.

EXTRA_DIST += \
	tests/packaging/packages_test.py \
	tests/packaging/release_test.py

.PHONY: check-packages check-release

# The source archive, as who has only that gets on with it. Some minutes.
check-release:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS=tests/packaging/release_test.py

# Debian packages, in check-systemd's container. Root, debhelper, lintian; two minutes.
check-packages:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS=tests/packaging/packages_test.py
