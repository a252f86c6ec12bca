# tests/net

check_PROGRAMS += \
	tests/net/listen_test \
	tests/net/pass_test \
	tests/net/rendezvous_test \
	tests/net/stream_test \
	tests/net/tickets_test
tests_net_listen_test_LDADD = $(TAP) $(LINK_NET)
tests_net_pass_test_LDADD = $(TAP) $(LINK_NET)
tests_net_rendezvous_test_LDADD = $(TAP) $(LINK_NET)
tests_net_stream_test_SOURCES = \
	tests/net/stream_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_net_stream_test_LDADD = $(TAP) $(LINK_NET)
tests_net_tickets_test_LDADD = $(TAP) $(LINK_NET)
if WITH_TLS
check_PROGRAMS += \
	tests/net/tls_test
tests_net_tls_test_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS)
tests_net_tls_test_LDADD = $(TAP) $(LINK_NET)
endif
