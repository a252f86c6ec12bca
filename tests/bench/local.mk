# tests/bench - how far from the limit: `make bench-echo`, not part of `make check`.

EXTRA_PROGRAMS += \
	tests/bench/echo \
	tests/bench/load
EXTRA_DIST += \
	tests/bench/compare.py

.PHONY: bench-echo
bench-echo: src/dflockd/dflockd tests/bench/echo tests/bench/load
	$(PYTHON) $(top_srcdir)/tests/bench/compare.py tests/bench/echo tests/bench/load \
		src/dflockd/dflockd
