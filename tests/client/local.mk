# tests/client: tests_client_NAME_test_LDADD = $(TAP) $(LINK_CLIENT). What is to use the library as it
# is installed links src/client/libdflock.la instead, and includes <dflock.h> only.

check_PROGRAMS += \
	tests/client/channel_test \
	tests/client/wire_test
tests_client_channel_test_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_wire_test_LDADD = $(TAP) $(LINK_CLIENT)

# The library as it is installed: only dflock.h, only what it exports.
CLIENT_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/src/client

EXTRA_PROGRAMS += \
	tests/client/puppet \
	tests/client/storm
check_DATA += \
	tests/client/puppet \
	tests/client/storm
tests_client_puppet_CPPFLAGS = $(CLIENT_CPPFLAGS)
tests_client_puppet_LDADD = src/client/libdflock.la
tests_client_storm_CPPFLAGS = $(CLIENT_CPPFLAGS)
tests_client_storm_LDADD = src/client/libdflock.la
