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
tests_upgrade_dflockd_CPPFLAGS = $(server_cppflags) -DREGION_LAYOUT_TEST
tests_upgrade_dflockd_SOURCES = $(server_sources)
tests_upgrade_dflockd_LDADD = $(server_libs)
tests_upgrade_relay_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SECCOMP_CFLAGS) -DREGION_LAYOUT_TEST
tests_upgrade_relay_SOURCES = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	tests/upgrade/relay.c
tests_upgrade_relay_LDADD = $(CRYPTO_LIBS) $(SECCOMP_LIBS)
tests_upgrade_take_LDADD = $(LINK_SHM)
