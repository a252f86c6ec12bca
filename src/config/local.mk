# src/config - options: the table of them, where they come from, whether they make sense.

noinst_LIBRARIES += src/config/libconfig.a
src_config_libconfig_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(INIH_CFLAGS)
src_config_libconfig_a_SOURCES = \
	src/config/dump.c \
	src/config/dump.h \
	src/config/exitcode.h \
	src/config/file.c \
	src/config/file.h \
	src/config/load.c \
	src/config/load.h \
	src/config/options.c \
	src/config/options.def \
	src/config/options.h \
	src/config/report.c \
	src/config/report.h \
	src/config/secret.c \
	src/config/secret.h \
	src/config/settings.h \
	src/config/tlsfiles.c \
	src/config/tlsfiles.h \
	src/config/validate.c \
	src/config/validate.h \
	src/config/value.c \
	src/config/value.h \
	src/config/webpages.c \
	src/config/webpages.h
