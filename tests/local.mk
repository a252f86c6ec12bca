# tests - mirrors src/; all speak TAP.
#
# A C test of core/table is tests/core/table_test.c, includes "tests/tap.h", and needs two lines:
# its name in the list of its layer, and what it links: $(TAP) and its layer's LINK_ variable,
# nothing above. More sources than the one of that name: name them all in tests_..._SOURCES.
# A test of the whole server is tests/e2e/NAME_test.py: its name in e2e_tests is enough; a module
# that tests import goes into e2e_modules. Scripts that look at the source are in tests/lint.

TAP = tests/libtap.a
check_LIBRARIES += tests/libtap.a
tests_libtap_a_SOURCES = \
	tests/tap.c \
	tests/tap.h

# The harness itself
check_PROGRAMS += \
	tests/tap_test
tests_tap_test_LDADD = $(TAP)

# tests/core: tests_core_NAME_test_LDADD = $(TAP) $(LINK_CORE)
include tests/core/local.mk

# tests/shm: tests_shm_NAME_test_LDADD = $(TAP) $(LINK_SHM)
include tests/shm/local.mk

# tests/proto: tests_proto_NAME_test_LDADD = $(TAP) $(LINK_PROTO)
check_PROGRAMS += \
	tests/proto/fuzz_test \
	tests/proto/reply_test \
	tests/proto/request_test \
	tests/proto/token_test
tests_proto_fuzz_test_SOURCES = \
	tests/proto/fuzz_test.c \
	tests/proto/same.h
tests_proto_fuzz_test_LDADD = $(TAP) $(LINK_PROTO)
tests_proto_reply_test_LDADD = $(TAP) $(LINK_PROTO)
tests_proto_request_test_SOURCES = \
	tests/proto/request_test.c \
	tests/proto/same.h
tests_proto_request_test_LDADD = $(TAP) $(LINK_PROTO)
tests_proto_token_test_LDADD = $(TAP) $(LINK_PROTO)

# tests/net: tests_net_NAME_test_LDADD = $(TAP) $(LINK_NET)
include tests/net/local.mk

# tests/worker: tests_worker_NAME_test_LDADD = $(TAP) $(LINK_WORKER)
include tests/worker/local.mk

# tests/http: tests_http_NAME_test_LDADD = $(TAP) $(LINK_HTTP)
include tests/http/local.mk

# tests/supervisor: tests_supervisor_NAME_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
include tests/supervisor/local.mk

# tests/tls: clients that a library cannot play
if WITH_TLS
EXTRA_PROGRAMS += \
	tests/tls/records
check_DATA += \
	tests/tls/records
tests_tls_records_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS)
tests_tls_records_LDADD = $(SSL_LIBS) $(CRYPTO_LIBS)
endif

# tests/e2e
e2e_modules = \
	tests/e2e/activate.py \
	tests/e2e/benchrun.py \
	tests/e2e/browser.py \
	tests/e2e/certs.py \
	tests/e2e/clocks.py \
	tests/e2e/ctl.py \
	tests/e2e/failing.py \
	tests/e2e/fakeserver.py \
	tests/e2e/dflock.py \
	tests/e2e/harness.py \
	tests/e2e/load.py \
	tests/e2e/webload.py \
	tests/e2e/lowlevel.py \
	tests/e2e/page.py \
	tests/e2e/points.py \
	tests/e2e/programs.py \
	tests/e2e/puppet.py \
	tests/e2e/said.py \
	tests/e2e/scene.py \
	tests/e2e/scrape.py \
	tests/e2e/web.py
e2e_tests = \
	tests/e2e/check_region_test.py \
	tests/e2e/clock_test.py \
	tests/e2e/completions_test.py \
	tests/e2e/config_test.py \
	tests/e2e/crash_damage_test.py \
	tests/e2e/crash_failures_test.py \
	tests/e2e/crash_fences_test.py \
	tests/e2e/crash_master_test.py \
	tests/e2e/crash_poison_test.py \
	tests/e2e/crash_reload_test.py \
	tests/e2e/crash_unix_test.py \
	tests/e2e/crash_workers_test.py \
	tests/e2e/dflock_bench_check_test.py \
	tests/e2e/dflock_bench_test.py \
	tests/e2e/dflock_options_test.py \
	tests/e2e/dflock_promise_test.py \
	tests/e2e/dflock_signals_test.py \
	tests/e2e/dflock_terminal_test.py \
	tests/e2e/dflockctl_check_test.py \
	tests/e2e/dflockctl_evict_test.py \
	tests/e2e/dflockctl_look_test.py \
	tests/e2e/dflockctl_top_test.py \
	tests/e2e/examples_test.py \
	tests/e2e/failing_library_test.py \
	tests/e2e/features_test.py \
	tests/e2e/fences_test.py \
	tests/e2e/floods_test.py \
	tests/e2e/harness_test.py \
	tests/e2e/lib_lock_test.py \
	tests/e2e/lib_renew_test.py \
	tests/e2e/libdflock_errors_test.py \
	tests/e2e/libdflock_misuse_test.py \
	tests/e2e/library_test.py \
	tests/e2e/log_test.py \
	tests/e2e/manual_test.py \
	tests/e2e/master_death_test.py \
	tests/e2e/offenders_test.py \
	tests/e2e/protocol_admin_test.py \
	tests/e2e/protocol_auth_test.py \
	tests/e2e/protocol_commands_test.py \
	tests/e2e/protocol_deadlines_test.py \
	tests/e2e/protocol_errors_test.py \
	tests/e2e/protocol_framing_test.py \
	tests/e2e/protocol_stats_test.py \
	tests/e2e/protocol_storm_test.py \
	tests/e2e/readme_test.py \
	tests/e2e/reload_test.py \
	tests/e2e/sandbox_test.py \
	tests/e2e/seeds_test.py \
	tests/e2e/semantics_disconnect_test.py \
	tests/e2e/semantics_drain_test.py \
	tests/e2e/semantics_fifo_test.py \
	tests/e2e/semantics_kill_test.py \
	tests/e2e/semantics_lease_test.py \
	tests/e2e/semantics_limits_test.py \
	tests/e2e/semantics_twophase_test.py \
	tests/e2e/strangers_test.py \
	tests/e2e/upgrade_test.py \
	tests/e2e/user_test.py \
	tests/e2e/where_test.py
# Not those of a feature that ./configure has left out; single tests name it with needs=.
e2e_http_tests = \
	tests/e2e/crash_http_test.py \
	tests/e2e/failing_server_test.py \
	tests/e2e/http_alerts_test.py \
	tests/e2e/http_bench_test.py \
	tests/e2e/http_clock_test.py \
	tests/e2e/http_curl_test.py \
	tests/e2e/http_checks_test.py \
	tests/e2e/http_death_test.py \
	tests/e2e/http_floods_test.py \
	tests/e2e/http_fuzz_test.py \
	tests/e2e/http_locks_test.py \
	tests/e2e/http_look_test.py \
	tests/e2e/http_manual_test.py \
	tests/e2e/http_metrics_test.py \
	tests/e2e/http_midway_test.py \
	tests/e2e/http_openapi_test.py \
	tests/e2e/http_page_live_test.py \
	tests/e2e/http_page_looks_test.py \
	tests/e2e/http_page_test.py \
	tests/e2e/http_polls_test.py \
	tests/e2e/http_sessions_test.py \
	tests/e2e/http_twophase_test.py \
	tests/e2e/http_deadlines_test.py \
	tests/e2e/http_framing_test.py \
	tests/e2e/http_guards_test.py \
	tests/e2e/http_hostile_test.py \
	tests/e2e/http_unread_test.py \
	tests/e2e/http_routes_test.py
e2e_systemd_tests = \
	tests/e2e/manager_test.py
e2e_tls_tests = \
	tests/e2e/tls_config_test.py \
	tests/e2e/tls_connection_test.py \
	tests/e2e/tls_death_test.py \
	tests/e2e/tls_reload_test.py

# tests/model: TAP through e2e/harness.py, without a server
model_tests = \
	tests/model/bell_test.py
EXTRA_DIST += \
	tests/model/bell.pml

# tests/lint
lint_tests += \
	tests/lint/docs_test.py \
	tests/lint/dump_test.py \
	tests/lint/layers_test.py \
	tests/lint/manual_test.py \
	tests/lint/pages_test.py \
	tests/lint/points_test.py \
	tests/lint/rules_test.py \
	tests/lint/units_test.py

TESTS = \
	$(check_PROGRAMS) \
	$(lint_tests) \
	$(model_tests) \
	$(e2e_tests)
if WITH_HTTP
TESTS += $(e2e_http_tests)
endif
if WITH_SYSTEMD
TESTS += $(e2e_systemd_tests)
endif
if WITH_TLS
TESTS += $(e2e_tls_tests)
endif
EXTRA_DIST += \
	tests/client/redirect.c \
	tests/clock/shift.c \
	$(e2e_modules) \
	$(e2e_http_tests) \
	$(e2e_systemd_tests) \
	$(e2e_tests) \
	$(e2e_tls_tests) \
	$(lint_tests) \
	$(model_tests) \
	tests/tally

# Pictures of the status page.
clean-local:
	rm -rf tests/e2e/shots

TEST_EXTENSIONS = .py .sh
tap_driver = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(tap_driver)
PY_LOG_COMPILER = $(PYTHON)
PY_LOG_DRIVER = $(tap_driver)
SH_LOG_COMPILER = $(SHELL)
SH_LOG_DRIVER = $(tap_driver)

# Absolute, so that a test may change its directory.
AM_TESTS_ENVIRONMENT = \
	CC='$(CC)'; export CC; \
	DFLOCKD='$(abs_top_builddir)/src/dflockd/dflockd'; export DFLOCKD; \
	SANITIZE_FLAGS='$(SANITIZE_FLAGS)'; export SANITIZE_FLAGS; \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	PYTHONPATH='$(abs_top_srcdir)/tests/e2e'; export PYTHONPATH; \
	PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE; \
	PYTHONUNBUFFERED=1; export PYTHONUNBUFFERED;
