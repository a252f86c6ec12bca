# src/proto - the line protocol, pure: bytes to requests, outcomes to bytes.

noinst_LIBRARIES += src/proto/libproto.a
src_proto_libproto_a_SOURCES = \
	src/proto/command.def \
	src/proto/reply.c \
	src/proto/reply.def \
	src/proto/reply.h \
	src/proto/request.c \
	src/proto/request.h \
	src/proto/token.c \
	src/proto/token.h
