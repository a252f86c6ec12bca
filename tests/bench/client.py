"""client.py - a server for tests/bench/client.c."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))

from harness import Server

# One worker: which one serves a connection makes a difference of its own.
with Server([], workers=1) as server:
    sys.exit(subprocess.run([sys.argv[1], str(server.port), *sys.argv[2:]]).returncode)
