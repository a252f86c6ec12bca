# tests/client/misuse: a program for each way to use the low level of libdflock wrongly. They, and
# lowlevel, are run by tests of tests/e2e, which have servers for them.
misuse_programs = \
	tests/client/lowlevel \
	tests/client/misuse/closed \
	tests/client/misuse/keys \
	tests/client/misuse/null \
	tests/client/misuse/numbers \
	tests/client/misuse/pipeline \
	tests/client/misuse/threads \
	tests/client/misuse/tokens
EXTRA_PROGRAMS += $(misuse_programs)
check_DATA += $(misuse_programs)
tests_client_lowlevel_LDADD = $(LINK_CLIENT)
tests_client_misuse_closed_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_keys_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_null_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_numbers_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_pipeline_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_threads_LDADD = $(TAP) $(LINK_CLIENT)
tests_client_misuse_tokens_LDADD = $(TAP) $(LINK_CLIENT)
