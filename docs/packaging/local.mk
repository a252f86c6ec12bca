# docs/packaging - the source archive and what distributions make of it: README.md beside this file.

EXTRA_DIST += \
	docs/packaging/README.md \
	docs/packaging/build \
	docs/packaging/debian/changelog \
	docs/packaging/debian/control \
	docs/packaging/debian/copyright \
	docs/packaging/debian/dflock.install \
	docs/packaging/debian/dflockd.docs \
	docs/packaging/debian/dflockd.install \
	docs/packaging/debian/dflockd.postinst \
	docs/packaging/debian/dflockd.postrm \
	docs/packaging/debian/dflockd.preinst \
	docs/packaging/debian/dflockd.prerm \
	docs/packaging/debian/libdflock-dev.examples \
	docs/packaging/debian/libdflock-dev.install \
	docs/packaging/debian/libdflock0.install \
	docs/packaging/debian/libdflock0.symbols \
	docs/packaging/debian/not-installed \
	docs/packaging/debian/rules \
	docs/packaging/debian/source/format \
	docs/packaging/debian/tests/control \
	docs/packaging/debian/tests/library \
	docs/packaging/debian/tests/service \
	docs/packaging/dflockd.spec \
	docs/packaging/epoch

# What dist-xz packs with: the same bytes whoever makes the archive, when and where. Its xz is given
# its options by the variable, to which it has a default; threads would cut the stream into blocks.
am__tar = \
	unset TAR_OPTIONS; XZ_OPT='-6 -T1' && export XZ_OPT && \
	epoch=`$(SHELL) $(srcdir)/docs/packaging/epoch $(srcdir)` && \
	LC_ALL=C $${TAR-tar} --format=ustar --sort=name --mtime="@$$epoch" --owner=0 --group=0 \
		--numeric-owner --mode=u=rwX,go=rX -chf - "$$tardir"

# Packages, outside the source tree: in deb and rpm of the build directory.
.PHONY: deb rpm
deb rpm: dist
	$(SHELL) $(srcdir)/docs/packaging/build $@ $(distdir).tar.xz $@

mostlyclean-local:
	-rm -rf deb rpm
