/*
 * tests/systemd/plain.c - supervisor/notify.c as in a build without libsystemd. With it in front of
 * the library the linker makes the server that --without-systemd would.
 */
#undef HAVE_LIBSYSTEMD
#include "supervisor/notify.c"
