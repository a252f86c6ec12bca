# tests/valgrind - tests in C under valgrind. Not part of check: it takes minutes, and wants valgrind.
# Not those that step or kill other processes at chosen instructions, nor those that use up
# descriptors, of which valgrind has some itself.

EXTRA_DIST += \
	tests/valgrind/library_test.py \
	tests/valgrind/valgrind.py

valgrind_quick = \
	tests/base/num_test \
	tests/base/siphash_test \
	tests/base/utf8_test \
	tests/client/wire_test \
	tests/config/file_test \
	tests/config/load_test \
	tests/config/secret_test \
	tests/core/check_test \
	tests/core/owners_test \
	tests/core/promise_test \
	tests/core/tally_test \
	tests/proto/fuzz_test \
	tests/proto/reply_test \
	tests/proto/request_test \
	tests/proto/token_test
valgrind_more = \
	tests/base/err_test \
	tests/client/channel_test \
	tests/config/dump_test \
	tests/config/sample_test \
	tests/config/webpages_test \
	tests/core/model_test \
	tests/core/repair_test \
	tests/core/snapshot_test \
	tests/http/body_test \
	tests/http/framing_test \
	tests/http/path_test \
	tests/http/routes_test \
	tests/serving/top_test \
	tests/shm/conns_test \
	tests/shm/fences_test \
	tests/supervisor/fencefile_test \
	tests/supervisor/keeper_test \
	tests/supervisor/policy_test \
	tests/worker/timers_test

valgrind = $(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/valgrind/valgrind.py \
	'$(abs_top_builddir)'
.PHONY: check-valgrind check-valgrind-quick
check-valgrind: check-valgrind-quick $(valgrind_more)
	$(valgrind) $(valgrind_more)
check-valgrind-quick: $(valgrind_quick) src/dflockd/dflockd src/cli/dflock src/ctl/dflockctl
	$(valgrind) $(valgrind_quick)
	$(AM_TESTS_ENVIRONMENT) $(PYTHON) $(top_srcdir)/tests/valgrind/library_test.py
