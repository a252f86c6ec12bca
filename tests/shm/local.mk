# tests/shm - proc: processes that are started, killed and stepped; other layers' tests use it too.
# crowd: a region full of connections; differ: whether two regions say the same.

shm_crowd = \
	tests/shm/crowd.c \
	tests/shm/crowd.h \
	tests/shm/differ.c \
	tests/shm/differ.h \
	tests/shm/proc.c \
	tests/shm/proc.h

check_PROGRAMS += \
	tests/shm/bell_kill_test \
	tests/shm/bell_test \
	tests/shm/caps_test \
	tests/shm/conns_test \
	tests/shm/dump_bytes_test \
	tests/shm/dump_test \
	tests/shm/lock_test \
	tests/shm/region_test \
	tests/shm/shared_test
tests_shm_bell_kill_test_SOURCES = \
	tests/shm/bell_kill_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_shm_bell_kill_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_bell_test_SOURCES = \
	tests/shm/bell_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_shm_bell_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_caps_test_SOURCES = \
	tests/shm/caps_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_shm_caps_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_conns_test_SOURCES = \
	tests/shm/conns_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_shm_conns_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_dump_bytes_test_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
tests_shm_dump_bytes_test_SOURCES = \
	$(shm_crowd) \
	tests/shm/dump_bytes_test.c
tests_shm_dump_bytes_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_dump_test_SOURCES = \
	$(shm_crowd) \
	tests/shm/dump_test.c
tests_shm_dump_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_lock_test_SOURCES = \
	tests/shm/lock_test.c \
	tests/shm/proc.c \
	tests/shm/proc.h
tests_shm_lock_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_region_test_SOURCES = \
	tests/shm/proc.c \
	tests/shm/proc.h \
	tests/shm/region_test.c
tests_shm_region_test_LDADD = $(TAP) $(LINK_SHM)
tests_shm_shared_test_SOURCES = \
	tests/shm/proc.c \
	tests/shm/proc.h \
	tests/shm/shared_test.c
tests_shm_shared_test_LDADD = $(TAP) $(LINK_SHM)
