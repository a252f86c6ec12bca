# systemd - units, the account, and what the service needs besides the server.

EXTRA_DIST += \
	systemd/dflockd-http.socket \
	systemd/dflockd-unix.socket \
	systemd/dflockd.service.in \
	systemd/dflockd.socket \
	systemd/reap-workers \
	systemd/sysusers.d/dflockd.conf

if INSTALL_UNITS
systemdsystemunit_DATA = \
	systemd/dflockd-http.socket \
	systemd/dflockd-unix.socket \
	systemd/dflockd.service \
	systemd/dflockd.socket
pkglibexec_SCRIPTS = systemd/reap-workers
sysusersdir = $(prefix)/lib/sysusers.d
sysusers_DATA = systemd/sysusers.d/dflockd.conf
endif

systemd/dflockd.service: systemd/dflockd.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	$(SED) -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@pkglibexecdir[@]|$(pkglibexecdir)|g' \
		$(top_srcdir)/systemd/dflockd.service.in >$@
CLEANFILES += systemd/dflockd.service
