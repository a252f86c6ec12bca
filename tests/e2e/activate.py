#!/usr/bin/env python3
"""activate.py NAMES FDS PROGRAM [ARGUMENT …] - runs a program as a service manager would that passes
sockets to it: descriptors from 3 on, LISTEN_FDS, LISTEN_FDNAMES, and LISTEN_PID, which only the
process itself can know. NAMES are separated by colons, FDS by commas."""

import fcntl
import os
import sys

names, fds, program = sys.argv[1], [int(x) for x in sys.argv[2].split(",")], sys.argv[3:]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
os.closerange(3, 100)
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
# What was passed may have high numbers, too.
os.closerange(3 + len(high), os.sysconf("SC_OPEN_MAX"))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(program[0], program)
