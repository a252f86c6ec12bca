#!/usr/bin/env python3
"""features_test.py - what ./configure was told to leave out is out: the program says so, refuses the options
of it by name, and is not linked with its libraries; what was not told is there."""

import os
import re
import socket
import subprocess
import sys

from harness import check, check_eq, left_out, main, test

# As config.h and --version call them; what only that needs.
FEATURES = {"http": ("HAVE_HTTP", "libevent"), "seccomp": ("HAVE_SECCOMP", "libseccomp"),
            "systemd": ("HAVE_LIBSYSTEMD", "libsystemd"), "tls": ("HAVE_TLS", "libssl")}
# Those with options of their own: as the refusal calls them.
NAMES = {"http": "HTTP", "tls": "TLS"}


def run(*args, env=None, program=(), **options):
    """(exit code, stdout, stderr)"""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    p = subprocess.run([*program, os.environ["DFLOCKD"], *args], env={**clean, **(env or {})}, text=True,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **options)
    return p.returncode, p.stdout, p.stderr


def configured():
    """What ./configure was told to leave out."""
    with open(os.path.join(os.environ["top_builddir"], "config.h"), encoding="utf-8") as f:
        text = f.read()
    return {name for name, (macro, _) in FEATURES.items() if not re.search(rf"^#define {macro} ", text, re.M)}


def options(feature):
    """[(flag, key, variable)] as the table of options has them."""
    path = os.path.join(os.environ["top_srcdir"], "src/config/options.def")
    with open(path, encoding="utf-8") as f:
        rows = re.split(r"^OPTION\(", f.read(), flags=re.M)
    found = []
    for row in rows:
        names = re.match(r'"([\w-]+)", "(\w+)"', row)
        if names and re.search(rf"\b(SHOWN|SECRET),\s+{feature.upper()},", row):
            found.append((names[1], names[1].replace("-", "_"), names[2]))
    check(found, f"options of {feature}")
    return found


@test("--version says what was left out, and the program is linked with nothing of it", rules=["C28"])
def version():
    out = configured()
    check_eq(set(left_out()), out, "without")
    libraries = subprocess.run(["ldd", os.environ["DFLOCKD"]], text=True, check=True,
                               stdout=subprocess.PIPE).stdout
    for name, (_, library) in FEATURES.items():
        check_eq(library in libraries, name not in out, f"{library} in {libraries}")


@test("options of what was left out are refused by name wherever they stand, and not in --help or -T",
      rules=["C28", "C29"])
def refused():
    shown, dumped = run("--help")[1], run("-T")[1]
    for feature, name in NAMES.items():
        for flag, key, variable in options(feature):
            there = feature not in left_out()
            check_eq((f"--{flag}" in shown, variable in shown, f"{key} = " in dumped), (there,) * 3, flag)
            if there:
                continue
            for origin, args, env in ((f"--{flag}", [f"--{flag}=1"], {}), (variable, [], {variable: "1"})):
                check_eq(run(*args, env=env), (78, "", f"dflockd: {origin}: this build has no {name}\n"), origin)
            check_eq(run("-t", env={variable: ""})[0], 0, f"{variable} empty: not given")


if "http" in left_out() and "systemd" not in left_out():
    @test("a socket for HTTP that the service manager passes is refused, with what to change", rules=["D7"])
    def passed():
        activate = os.path.join(os.environ["top_srcdir"], "tests/e2e/activate.py")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fd = listener.fileno()
            said = run(program=[sys.executable, activate, "http", str(fd)], pass_fds=[fd])
        check_eq(said, (78, "", "dflockd: the socket 'http' that was passed: this build has no HTTP: disable "
                        "the socket unit\n"), "what is said")


if __name__ == "__main__":
    main()
