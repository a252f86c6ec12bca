# docs - man pages (dist_man_MANS += docs/man/name.N) and the other documents (EXTRA_DIST).

dist_man_MANS += \
	docs/man/dflock-bench.1 \
	docs/man/dflockctl.1 \
	docs/man/dflockd-protocol.7 \
	docs/man/dflockd.conf.5 \
	docs/man/dflockd.8

EXTRA_DIST += \
	docs/HACKING.md \
	docs/internals/deaths.md \
	docs/internals/design.md \
	docs/internals/dump.md \
	docs/internals/fences.md \
	docs/internals/journal.md \
	docs/internals/processes.md \
	docs/internals/sandbox.md \
	docs/internals/systemd.md \
	docs/internals/table.md \
	docs/internals/testing.md \
	docs/internals/tls.md \
	docs/internals/wakeups.md \
	docs/rules.md

# The sample of a configuration file: tests/config/sample_test.c holds it against the options.
dist_doc_DATA += systemd/dflockd.conf
