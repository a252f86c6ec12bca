# src/cli - dflock, which runs a command under a lock.

bin_PROGRAMS += src/cli/dflock
src_cli_dflock_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
src_cli_dflock_SOURCES = \
	src/cli/command.c \
	src/cli/command.h \
	src/cli/exitcode.c \
	src/cli/exitcode.h \
	src/cli/front.c \
	src/cli/front.h \
	src/cli/guardian.c \
	src/cli/guardian.h \
	src/cli/lease.c \
	src/cli/lease.h \
	src/cli/link.c \
	src/cli/link.h \
	src/cli/main.c \
	src/cli/options.c \
	src/cli/options.h \
	src/cli/say.c \
	src/cli/say.h \
	src/cli/signals.c \
	src/cli/signals.h \
	src/cli/terminal.c \
	src/cli/terminal.h \
	src/cli/tree.c \
	src/cli/tree.h
src_cli_dflock_LDADD = \
	src/where/libwhere.a \
	$(LINK_CLIENT) \
	$(LINK_BASE) \
	$(JANSSON_LIBS)
