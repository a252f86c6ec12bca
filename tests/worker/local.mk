# tests/worker

check_PROGRAMS += \
	tests/worker/timers_test
tests_worker_timers_test_SOURCES = \
	tests/shm/proc.c \
	tests/shm/proc.h \
	tests/worker/timers_test.c
tests_worker_timers_test_LDADD = $(TAP) $(LINK_WORKER)
