# src/completions - what bash completes; all of it is in the first, the others are found by their names.

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = \
	src/completions/dflock \
	src/completions/dflock-bench \
	src/completions/dflockctl \
	src/completions/dflockd
