# tests/crash - the whole server once more, with the places of base/point.h in it: the tests
# tests/e2e/crash_*_test.py end it there. Not installed.

EXTRA_PROGRAMS += \
	tests/crash/dflockd \
	tests/crash/scribble
check_DATA += \
	tests/crash/dflockd \
	tests/crash/scribble
tests_crash_dflockd_CPPFLAGS = \
	$(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(INIH_CFLAGS) $(JANSSON_CFLAGS) \
	$(SECCOMP_CFLAGS) $(SYSTEMD_CFLAGS) -DCRASH_POINTS
tests_crash_dflockd_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	$(src_proto_libproto_a_SOURCES) \
	$(src_net_libnet_a_SOURCES) \
	$(src_config_libconfig_a_SOURCES) \
	$(src_worker_libworker_a_SOURCES) \
	$(src_supervisor_libsupervisor_a_SOURCES) \
	$(src_dflockd_dflockd_SOURCES) \
	tests/crash/escape.c
tests_crash_dflockd_LDADD = $(CRYPTO_LIBS) $(INIH_LIBS) $(JANSSON_LIBS) $(SECCOMP_LIBS) $(SYSTEMD_LIBS)
tests_crash_scribble_LDADD = $(LINK_SHM)
