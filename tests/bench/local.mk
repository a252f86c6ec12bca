# tests/bench - how far from the limit: `make bench-echo`; what a death costs: `make bench-kill`.
# Not part of `make check`.

EXTRA_PROGRAMS = \
	tests/bench/echo \
	tests/bench/kill \
	tests/bench/load
EXTRA_DIST += \
	tests/bench/compare.py \
	tests/bench/kill.py

.PHONY: bench-echo
bench-echo: src/dflockd/dflockd tests/bench/echo tests/bench/load
	$(PYTHON) $(top_srcdir)/tests/bench/compare.py tests/bench/echo tests/bench/load \
		src/dflockd/dflockd

.PHONY: bench-kill
bench-kill: src/dflockd/dflockd tests/bench/kill
	$(PYTHON) $(top_srcdir)/tests/bench/kill.py tests/bench/kill src/dflockd/dflockd
