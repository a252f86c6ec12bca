# tests/supervisor

check_PROGRAMS += \
	tests/supervisor/child_table_test \
	tests/supervisor/fencefile_test \
	tests/supervisor/keeper_test \
	tests/supervisor/master_test \
	tests/supervisor/policy_test \
	tests/supervisor/strangers_test
tests_supervisor_child_table_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
tests_supervisor_fencefile_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
tests_supervisor_keeper_test_SOURCES = \
	tests/shm/proc.c \
	tests/shm/proc.h \
	tests/supervisor/keeper_test.c
tests_supervisor_keeper_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
tests_supervisor_master_test_SOURCES = \
	tests/shm/proc.c \
	tests/shm/proc.h \
	tests/supervisor/master_test.c
tests_supervisor_master_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
tests_supervisor_policy_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
tests_supervisor_strangers_test_LDADD = $(TAP) $(LINK_SUPERVISOR)
