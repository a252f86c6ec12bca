# src/net - sockets: listening, streams, descriptors between processes.

noinst_LIBRARIES += src/net/libnet.a
src_net_libnet_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
src_net_libnet_a_SOURCES = \
	src/net/listen.c \
	src/net/listen.h \
	src/net/pass.c \
	src/net/pass.h \
	src/net/rendezvous.c \
	src/net/rendezvous.h \
	src/net/stream.c \
	src/net/stream.h
