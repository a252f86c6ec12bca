# tests/upgrade - the whole server once more, with records that lie elsewhere in the region: what a
# later version might be, for upgrades there and back. Not installed.

EXTRA_PROGRAMS += \
	tests/upgrade/dflockd \
	tests/upgrade/relay \
	tests/upgrade/take
check_DATA += \
	tests/upgrade/dflockd \
	tests/upgrade/relay \
	tests/upgrade/take
tests_upgrade_dflockd_CPPFLAGS = \
	$(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(INIH_CFLAGS) $(JANSSON_CFLAGS) \
	$(SECCOMP_CFLAGS) $(SYSTEMD_CFLAGS) -DREGION_LAYOUT_TEST
tests_upgrade_dflockd_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	$(src_proto_libproto_a_SOURCES) \
	$(src_net_libnet_a_SOURCES) \
	$(src_config_libconfig_a_SOURCES) \
	$(src_worker_libworker_a_SOURCES) \
	$(src_supervisor_libsupervisor_a_SOURCES) \
	$(src_dflockd_dflockd_SOURCES)
tests_upgrade_dflockd_LDADD = \
	$(CRYPTO_LIBS) $(INIH_LIBS) $(JANSSON_LIBS) $(SECCOMP_LIBS) $(SYSTEMD_LIBS)
tests_upgrade_relay_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SECCOMP_CFLAGS) -DREGION_LAYOUT_TEST
tests_upgrade_relay_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	tests/upgrade/relay.c
tests_upgrade_relay_LDADD = $(CRYPTO_LIBS) $(SECCOMP_LIBS)
tests_upgrade_take_LDADD = $(LINK_SHM)
