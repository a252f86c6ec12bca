# src/where - the options that say where the servers are, the same for all programs.

noinst_LIBRARIES += src/where/libwhere.a
src_where_libwhere_a_SOURCES = \
	src/where/where.c \
	src/where/where.h
