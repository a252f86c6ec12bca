# src/ctl - dflockctl: looks at a server, and takes locks away.

bin_PROGRAMS += src/ctl/dflockctl
src_ctl_dflockctl_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
src_ctl_dflockctl_SOURCES = \
	src/ctl/ask.c \
	src/ctl/ask.h \
	src/ctl/check.c \
	src/ctl/check.h \
	src/ctl/ctl.h \
	src/ctl/data.c \
	src/ctl/data.h \
	src/ctl/evict.c \
	src/ctl/list.c \
	src/ctl/list.h \
	src/ctl/lookup.c \
	src/ctl/lookup.h \
	src/ctl/ls.c \
	src/ctl/main.c \
	src/ctl/options.c \
	src/ctl/ping.c \
	src/ctl/screen.c \
	src/ctl/screen.h \
	src/ctl/show.c \
	src/ctl/stats.c \
	src/ctl/text.c \
	src/ctl/text.h \
	src/ctl/top.c
src_ctl_dflockctl_LDADD = \
	$(LINK_WHERE) \
	$(LINK_BASE) \
	$(JANSSON_LIBS)
