# src/dflockd - the server: the only directory that sees everything.

# All that the server is made of, for the tests' programs that build it in another way.
server_sources = \
	$(src_base_libbase_a_SOURCES) \
	$(src_core_libcore_a_SOURCES) \
	$(src_shm_libshm_a_SOURCES) \
	$(src_proto_libproto_a_SOURCES) \
	$(src_net_libnet_a_SOURCES) \
	$(src_config_libconfig_a_SOURCES) \
	$(src_serving_libserving_a_SOURCES) \
	$(src_worker_libworker_a_SOURCES) \
	$(http_sources) \
	$(src_supervisor_libsupervisor_a_SOURCES) \
	$(src_dflockd_dflockd_SOURCES)
server_cppflags = \
	$(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(SSL_CFLAGS) $(EVENT_CFLAGS) $(INIH_CFLAGS) \
	$(JANSSON_CFLAGS) $(SECCOMP_CFLAGS) $(SYSTEMD_CFLAGS)
server_libs = \
	$(EVENT_SSL_LIBS) $(EVENT_LIBS) $(SSL_LIBS) $(CRYPTO_LIBS) $(INIH_LIBS) $(JANSSON_LIBS) \
	$(SECCOMP_LIBS) $(SYSTEMD_LIBS)

sbin_PROGRAMS += src/dflockd/dflockd
src_dflockd_dflockd_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
src_dflockd_dflockd_SOURCES = \
	src/dflockd/checkregion.c \
	src/dflockd/checkregion.h \
	src/dflockd/fsck.c \
	src/dflockd/fsck.h \
	src/dflockd/main.c \
	src/dflockd/origin.c \
	src/dflockd/origin.h \
	src/dflockd/tlsload.c \
	src/dflockd/tlsload.h \
	src/dflockd/user.c \
	src/dflockd/user.h
src_dflockd_dflockd_LDADD = \
	src/supervisor/libsupervisor.a \
	src/worker/libworker.a \
	src/serving/libserving.a \
	src/config/libconfig.a \
	$(LINK_WORKER) \
	$(LINK_HTTP) \
	$(INIH_LIBS) \
	$(SYSTEMD_LIBS)
