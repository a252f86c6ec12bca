# tests/http

tests_http_cppflags = $(AM_CPPFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
if WITH_HTTP
check_PROGRAMS += \
	tests/http/body_fuzz_test \
	tests/http/body_test \
	tests/http/framing_test \
	tests/http/guard_test \
	tests/http/path_test \
	tests/http/routes_test
tests_http_body_fuzz_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_body_fuzz_test_SOURCES = tests/http/body_fuzz_test.c tests/http/seeded.h
tests_http_body_fuzz_test_LDADD = $(TAP) $(LINK_HTTP)
tests_http_body_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_body_test_LDADD = $(TAP) $(LINK_HTTP)
tests_http_framing_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_framing_test_LDADD = $(TAP) $(LINK_HTTP)
tests_http_guard_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_guard_test_SOURCES = tests/http/guard_test.c tests/http/seeded.h
tests_http_guard_test_LDADD = $(TAP) $(LINK_HTTP)
tests_http_path_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_path_test_SOURCES = tests/http/path_test.c tests/http/seeded.h
tests_http_path_test_LDADD = $(TAP) $(LINK_HTTP)
tests_http_routes_test_CPPFLAGS = $(tests_http_cppflags)
tests_http_routes_test_LDADD = $(TAP) $(LINK_HTTP)
endif
