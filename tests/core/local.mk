# tests/core - bed: a table in private memory; gen: random operations; model: what they should do;
# shapes: tables with all operations on them; state: copies of what an operation may touch.

core_bed = \
	tests/core/bed.c \
	tests/core/bed.h \
	tests/core/gen.c \
	tests/core/gen.h
core_shapes = \
	$(core_bed) \
	tests/core/shapes.c \
	tests/core/shapes.h \
	tests/core/state.c \
	tests/core/state.h
core_step = \
	$(core_shapes) \
	tests/core/answers.c \
	tests/core/answers.h \
	tests/core/prover.c \
	tests/core/prover.h \
	tests/core/step_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
core_model = \
	tests/core/model.c \
	tests/core/model.h

# The core with a call after each store that another process may see, for tests that stop there;
# and once more with the mistake that such a test must find.
check_LIBRARIES += \
	tests/core/libcorehooked.a \
	tests/core/libcoremisordered.a
tests_core_libcorehooked_a_SOURCES = $(src_core_libcore_a_SOURCES)
tests_core_libcorehooked_a_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK
tests_core_libcoremisordered_a_SOURCES = $(src_core_libcore_a_SOURCES)
tests_core_libcoremisordered_a_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK -DJOURNAL_MISORDERED

check_PROGRAMS += \
	tests/core/check_test \
	tests/core/die_at_store_test \
	tests/core/die_misordered_test \
	tests/core/leases_test \
	tests/core/model_test \
	tests/core/owners_test \
	tests/core/promise_test \
	tests/core/repair_test \
	tests/core/snapshot_test \
	tests/core/step_misordered_test \
	tests/core/step_test \
	tests/core/tally_test
tests_core_check_test_SOURCES = tests/core/check_test.c $(core_bed)
tests_core_check_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_die_at_store_test_SOURCES = tests/core/die_at_store_test.c $(core_shapes)
tests_core_die_at_store_test_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK
tests_core_die_at_store_test_LDADD = $(TAP) tests/core/libcorehooked.a
tests_core_die_misordered_test_SOURCES = tests/core/die_at_store_test.c $(core_shapes)
tests_core_die_misordered_test_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK -DEXPECT_CAUGHT
tests_core_die_misordered_test_LDADD = $(TAP) tests/core/libcoremisordered.a
tests_core_leases_test_SOURCES = tests/core/leases_test.c $(core_bed)
tests_core_leases_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_model_test_SOURCES = tests/core/model_test.c $(core_bed) $(core_model)
tests_core_model_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_owners_test_SOURCES = tests/core/owners_test.c $(core_bed)
tests_core_owners_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_promise_test_SOURCES = tests/core/promise_test.c $(core_bed)
tests_core_promise_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_repair_test_SOURCES = tests/core/repair_test.c $(core_bed) $(core_model)
tests_core_repair_test_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK
tests_core_repair_test_LDADD = $(TAP) tests/core/libcorehooked.a
tests_core_snapshot_test_SOURCES = tests/core/snapshot_test.c $(core_bed) $(core_model)
tests_core_snapshot_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_step_misordered_test_SOURCES = $(core_step)
tests_core_step_misordered_test_CPPFLAGS = $(AM_CPPFLAGS) -DJOURNAL_HOOK -DEXPECT_CAUGHT
tests_core_step_misordered_test_LDADD = $(TAP) tests/core/libcoremisordered.a $(LINK_BASE)
tests_core_step_test_SOURCES = $(core_step)
tests_core_step_test_LDADD = $(TAP) $(LINK_CORE)
tests_core_tally_test_SOURCES = tests/core/tally_test.c $(core_bed)
tests_core_tally_test_LDADD = $(TAP) $(LINK_CORE)

lint_tests += \
	tests/core/symbols_test.sh
