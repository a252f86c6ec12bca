# tests/threads - workers that are threads of one process, under the thread sanitizer: `make
# check-threads` in a directory that was configured with --enable-thread-workers.

threads_tests = \
	tests/threads/threads_test.py
EXTRA_DIST += \
	$(threads_tests) \
	tests/threads/workers.c

if THREAD_WORKERS
EXTRA_PROGRAMS += \
	tests/threads/workers
check_LIBRARIES += \
	tests/threads/libworkers.a

# An archive: what workers.c has itself is not taken from it.
tests_threads_libworkers_a_CPPFLAGS = $(server_cppflags) -DCRASH_POINTS
tests_threads_libworkers_a_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	$(src_proto_libproto_a_SOURCES) \
	$(src_net_libnet_a_SOURCES) \
	$(src_config_libconfig_a_SOURCES) \
	$(src_serving_libserving_a_SOURCES) \
	$(src_worker_libworker_a_SOURCES) \
	src/supervisor/keeper.c
tests_threads_workers_CPPFLAGS = $(server_cppflags) -DCRASH_POINTS
tests_threads_workers_SOURCES = tests/threads/workers.c
tests_threads_workers_LDADD = tests/threads/libworkers.a $(server_libs)
endif

# Not check: what it needs is little, and it alone is built.
.PHONY: check-threads
check-threads: tests/threads/workers tests/soak/checker tests/soak/soak
	$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS='$(threads_tests)' \
		check_PROGRAMS= check_LIBRARIES= check_DATA=
