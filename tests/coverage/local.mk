# tests/coverage - which branches of the core the tests take. Not part of check: it builds the core
# and its tests anew, with gcov.

EXTRA_DIST += \
	tests/coverage/coverage.py

COVERAGE_FLAGS =

.PHONY: coverage
coverage:
	$(PYTHON) $(top_srcdir)/tests/coverage/coverage.py $(COVERAGE_FLAGS) '$(abs_top_srcdir)' \
		'$(abs_top_builddir)/tests/coverage/build'
