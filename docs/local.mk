# docs - man pages (dist_man_MANS += docs/man/name.N) and the other documents (EXTRA_DIST).

dist_man_MANS += \
	docs/man/dflockctl.1 \
	docs/man/dflock-bench.1 \
	docs/man/dflock.1 \
	docs/man/dflock_acquire.3 \
	docs/man/dflock_conn_acquire.3 \
	docs/man/dflock_conn_sem_acquire.3 \
	docs/man/dflock_conn_stats.3 \
	docs/man/dflock_conn_submit.3 \
	docs/man/dflock_dial.3 \
	docs/man/dflock_enqueue.3 \
	docs/man/dflock_error_text.3 \
	docs/man/dflock_is_held.3 \
	docs/man/dflock_lock_new.3 \
	docs/man/dflock_options_new.3 \
	docs/man/dflock_shard_crc32.3 \
	docs/man/dflock_start_acquire.3 \
	docs/man/dflockd-http.7 \
	docs/man/dflockd-protocol.7 \
	docs/man/dflockd.8 \
	docs/man/dflockd.conf.5 \
	docs/man/libdflock.3

EXTRA_DIST += \
	docs/HACKING.md \
	docs/architecture.svg \
	docs/benchmarks-flame.svg \
	docs/benchmarks.md \
	docs/examples/README.md \
	docs/examples/auth.c \
	docs/examples/basic_lock.c \
	docs/examples/crontab \
	docs/examples/error_handling.c \
	docs/examples/fence_file.c \
	docs/examples/fence_sql.c \
	docs/examples/fifo_workers.c \
	docs/examples/lease.c \
	docs/examples/low_level.c \
	docs/examples/on_renew_error.c \
	docs/examples/quick_start.c \
	docs/examples/semaphore.c \
	docs/examples/semaphore_with_lock.c \
	docs/examples/shard_function.c \
	docs/examples/sharding.c \
	docs/examples/sharding_with_lock.c \
	docs/examples/tls.c \
	docs/examples/tls_auth.c \
	docs/examples/tls_system.c \
	docs/examples/two_phase.c \
	docs/examples/two_phase_notify.c \
	docs/examples/two_phase_status.c \
	docs/examples/with_lock.c \
	docs/examples/worker_pool.c \
	docs/grafana/dflockd.json \
	docs/internals/deaths.md \
	docs/internals/design.md \
	docs/internals/dflock.md \
	docs/internals/dump.md \
	docs/internals/fences.md \
	docs/internals/fuzzing.md \
	docs/internals/http.md \
	docs/internals/journal.md \
	docs/internals/processes.md \
	docs/internals/sandbox.md \
	docs/internals/sharing.md \
	docs/internals/systemd.md \
	docs/internals/table.md \
	docs/internals/testing.md \
	docs/internals/tls.md \
	docs/internals/wakeups.md \
	docs/metrics.md \
	docs/prometheus/dflockd-alerts.yml \
	docs/rules.md \
	docs/security.md \
	docs/status-page.png

# The sample of a configuration file: tests/config/sample_test.c holds it against the options.
dist_doc_DATA += systemd/dflockd.conf

# Each function's name leads to the page that has it.
EXTRA_DIST += docs/man/links
install-data-hook:
	$(SHELL) $(srcdir)/docs/man/links add '$(DESTDIR)$(man3dir)' '$(srcdir)' $(dist_man_MANS)
uninstall-hook:
	$(SHELL) $(srcdir)/docs/man/links remove '$(DESTDIR)$(man3dir)' '$(srcdir)' $(dist_man_MANS)
