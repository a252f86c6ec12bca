# tests/client: tests_client_NAME_test_LDADD = $(TAP) $(LINK_CLIENT). What is to use the library as it
# is installed links src/client/libdflock.la instead, and includes <dflock.h> only.
