"""units_test.py - the units without a systemd that runs them: how exposed the service is, and that they
agree with the source. tests/systemd/ runs them."""

import os
import re
import subprocess
import sys
import tempfile

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
EXPOSURE = 15  # tenths


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


def exposed():
    """What systemd-analyze objects to, if it is too much."""
    unit = re.sub(r"@\w+@", "/usr/sbin", read("systemd/dflockd.service.in"))
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "dflockd.service")
        with open(path, "w", encoding="utf-8") as f:
            f.write(unit)
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                               f"--threshold={EXPOSURE}", path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0 and "Overall exposure" in done.stdout:
        return []
    return [x for x in done.stdout.splitlines() if "✗" in x or "Overall" in x] or [done.stdout]


def sockets_agree():
    """The units listen where the server does by default."""
    options = dict(re.findall(r'^OPTION\("(host|port)", [^"]*"[^"]*", [^"]*"([^"]*)"',
                              read("src/config/options.def"), re.M))
    said = re.search(r"^ListenStream=(.*)$", read("systemd/dflockd.socket"), re.M)[1]
    wanted = f"{options.get('host')}:{options.get('port')}"
    return [] if said == wanted else [f"dflockd.socket has {said}, the server {wanted}"]


def one_account():
    account = re.search(r"^u (\S+)", read("systemd/sysusers.d/dflockd.conf"), re.M)[1]
    return [f"{path}: {x}" for path in ("systemd/dflockd.service.in", "systemd/dflockd-unix.socket")
            for x in re.findall(r"^(?:User|Group|SocketGroup)=.*$", read(path), re.M)
            if x.split("=")[1] != account]


def state_kept():
    """Fences go on growing over a reboot, in the directory that the unit makes for the server; and there
    is room for the lock table behind as many addresses as there may be."""
    unit = read("systemd/dflockd.service.in")
    start = re.search(r"^ExecStart=(.*)$", unit, re.M)[1]
    wanted = "@sbindir@/dflockd --fence-state-file=%S/dflockd/fences"
    wrong = [] if start == wanted else [f"dflockd.service starts {start}, not {wanted}"]
    if not re.search(r"^StateDirectory=dflockd$", unit, re.M):
        wrong.append("dflockd.service has no StateDirectory=dflockd")
    room = int(re.search(r"^FileDescriptorStoreMax=(\d+)$", unit, re.M)[1])
    needed = int(re.search(r"LISTEN_MAX = (\d+)", read("src/net/listen.h"))[1]) + 1
    if room < needed:
        wrong.append(f"dflockd.service has FileDescriptorStoreMax={room}, less than {needed}")
    return wrong


def script_is_sound():
    done = subprocess.run(["sh", "-n", os.path.join(top, "systemd/reap-workers")],
                          stderr=subprocess.PIPE, text=True)
    return done.stderr.splitlines()


results = [(f"systemd-analyze gives the service {EXPOSURE / 10} or less", exposed()),
           ("dflockd.socket has the default address", sockets_agree()),
           ("all units name the account that is made", one_account()),
           ("the service keeps fences, the lock table and listeners", state_kept()),
           ("reap-workers can be read by sh", script_is_sound())]
for n, (text, wrong) in enumerate(results, 1):
    print(f"{'not ok' if wrong else 'ok'} {n} - {text}")
    for line in wrong:
        print(f"# {line}")
print(f"1..{len(results)}")
sys.exit(any(wrong for _, wrong in results))
