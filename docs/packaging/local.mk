# docs/packaging - the source archive: README.md beside this file.

EXTRA_DIST += \
	docs/packaging/README.md \
	docs/packaging/epoch

# What dist-xz packs with: the same bytes whoever makes the archive, when and where. Its xz is given
# its options by the variable, to which it has a default; threads would cut the stream into blocks.
am__tar = \
	unset TAR_OPTIONS; XZ_OPT='-6 -T1' && export XZ_OPT && \
	epoch=`$(SHELL) $(srcdir)/docs/packaging/epoch $(srcdir)` && \
	LC_ALL=C $${TAR-tar} --format=ustar --sort=name --mtime="@$$epoch" --owner=0 --group=0 \
		--numeric-owner --mode=u=rwX,go=rX -chf - "$$tardir"
