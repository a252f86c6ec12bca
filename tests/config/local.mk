# tests/config

config_sources = \
	tests/config/sources.c \
	tests/config/sources.h
check_PROGRAMS += \
	tests/config/dump_test \
	tests/config/file_test \
	tests/config/load_test \
	tests/config/sample_test \
	tests/config/secret_test
tests_config_dump_test_SOURCES = tests/config/dump_test.c $(config_sources)
tests_config_dump_test_LDADD = $(TAP) $(LINK_CONFIG)
tests_config_file_test_SOURCES = tests/config/file_test.c $(config_sources)
tests_config_file_test_LDADD = $(TAP) $(LINK_CONFIG)
tests_config_load_test_SOURCES = tests/config/load_test.c $(config_sources)
tests_config_load_test_LDADD = $(TAP) $(LINK_CONFIG)
tests_config_sample_test_SOURCES = tests/config/sample_test.c $(config_sources)
tests_config_sample_test_LDADD = $(TAP) $(LINK_CONFIG)
tests_config_secret_test_SOURCES = tests/config/secret_test.c $(config_sources)
tests_config_secret_test_LDADD = $(TAP) $(LINK_CONFIG)
if WITH_HTTP
check_PROGRAMS += \
	tests/config/webpages_test
tests_config_webpages_test_SOURCES = tests/config/webpages_test.c $(config_sources)
tests_config_webpages_test_LDADD = $(TAP) $(LINK_CONFIG)
endif
