# src/net - sockets: listening, streams, descriptors between processes.

noinst_LIBRARIES += src/net/libnet.a
src_net_libnet_a_CPPFLAGS = $(AM_CPPFLAGS) $(SSL_CFLAGS)
src_net_libnet_a_SOURCES = \
	src/net/address.c \
	src/net/address.h \
	src/net/listen.c \
	src/net/listen.h \
	src/net/pass.c \
	src/net/pass.h \
	src/net/rendezvous.c \
	src/net/rendezvous.h \
	src/net/stream.c \
	src/net/stream.h \
	src/net/tickets.c \
	src/net/tickets.h \
	src/net/tls.h
if WITH_TLS
src_net_libnet_a_SOURCES += \
	src/net/tls.c
else
src_net_libnet_a_SOURCES += \
	src/net/tls_none.c
endif
