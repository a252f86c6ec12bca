"""tests/bench/kill.py - what a worker's death costs those who are connected.

    kill.py KILL DFLOCKD [CONNECTIONS [KILLS [THINK_MS]]]

A server with two workers, clients on 5,000 connections (kill.c), and every second kill -9 for one
worker and the other in turn. Which connections are a worker's is seen from the sockets that it has
open, before it dies. Requests are of the stall if they were under way at a kill or sent within
100 ms after it; of quiet time if sent 400 ms and more after one and 100 ms before the next, so
that the table shows what is the machine's own noise. Exit status 1 if anything was lost.
"""

import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

STALL, QUIET, BEFORE = 100_000_000, 400_000_000, 100_000_000  # ns


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def ports_by_inode(port):
    """The server's sockets: inode → the client's port."""
    found = {}
    with open("/proc/net/tcp") as f:
        for row in f.read().splitlines()[1:]:
            x = row.split()
            if int(x[1].split(":")[1], 16) == port and x[3] == "01":
                found[int(x[9])] = int(x[2].split(":")[1], 16)
    return found


def ports_of(pid, inodes):
    ports = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        m = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        if m and int(m[1]) in inodes:
            ports.add(inodes[int(m[1])])
    return ports


class Server:
    def __init__(self, path, connections):
        self.log = []
        self.proc = subprocess.Popen(
            [path, "--port", "0", "--workers", "2", "--read-timeout", "3600", "--max-locks",
             str(2 * connections), "--max-connections", str(connections + 100)],
            stderr=subprocess.PIPE, text=True)
        self.pid = self.proc.pid
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        self.port = int(self.wait(r" listening .*:(\d+)$", 0)[1])
        while len(children(self.pid)) < 2:
            time.sleep(0.01)

    def read(self):
        for line in self.proc.stderr:
            with self.changed:
                self.log.append(line.rstrip())
                self.changed.notify_all()

    def wait(self, regex, since):
        with self.changed:
            if not self.changed.wait_for(
                    lambda: any(re.search(regex, x) for x in self.log[since:]), 10):
                sys.exit(f"kill.py: the server does not say {regex}:\n" +
                         "\n".join(self.log[-9:]))
            return next(m for m in (re.search(regex, x) for x in self.log[since:]) if m)


def percentile(values, p):
    return values[min(len(values) - 1, int(len(values) * p / 100))] / 1e6 if values else 0


def row(name, values):
    values.sort()
    print(f"| {name} | {len(values)} | " +
          " | ".join(f"{percentile(values, p):.2f}" for p in (50, 99, 99.9, 100)) + " |")


def split(path, kills, owner):
    """Latencies: quiet, dead worker's, other's; and by kill the slowest of each."""
    quiet, dead, other = [], [], []
    with open(path, "rb") as f:
        records = sorted(struct.iter_unpack("=Qqq", f.read()), key=lambda r: r[1])
    # A request can only be of the last kill before its end, or of the one before that.
    at = 0
    for port, sent, took in records:
        while at < len(kills) and kills[at][0] + STALL < sent:
            at += 1
        if at < len(kills) and sent + took > kills[at][0] and port in owner:
            (dead if owner[port] == kills[at][1] else other).append(took)
        elif at > 0 and sent >= kills[at - 1][0] + QUIET and (
                at == len(kills) or sent < kills[at][0] - BEFORE):
            quiet.append(took)
    return quiet, dead, other


def ms_of(log, key):
    """A duration of the "took over" lines, ns."""
    found = [re.search(rf" {key}_ms=([0-9.]+)", x) for x in log if "took over" in x]
    return [float(m[1]) * 1e6 for m in found if m]


def main():
    load_path, dflockd = sys.argv[1:3]
    connections, kills_wanted, think = (
        [int(a) for a in sys.argv[3:]] + [5000, 64, 400][len(sys.argv) - 3:])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server(dflockd, connections)
    kills = []
    with tempfile.TemporaryDirectory() as where:
        path = os.path.join(where, "records")
        load = subprocess.Popen([load_path, str(server.port), str(connections), str(think), path],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if load.stdout.readline() != "ready\n":
                sys.exit("kill.py: the clients are not ready")
            inodes = ports_by_inode(server.port)
            first = children(server.pid)
            owner = {p: slot for slot, pid in enumerate(first) for p in ports_of(pid, inodes)}
            worker = dict(enumerate(first))
            time.sleep(2)
            for n in range(kills_wanted):
                slot, before = n % 2, len(server.log)
                when = time.monotonic_ns()
                if worker[slot] not in children(server.pid):
                    sys.exit(f"kill.py: worker {slot} died of something else:\n" +
                             "\n".join(server.log[-9:]))
                os.kill(worker[slot], signal.SIGKILL)
                kills.append((when, slot))
                server.wait("took over", before)
                # A pid is a slot's until that slot is next in turn.
                worker[slot] = next(p for p in children(server.pid) if p != worker[1 - slot])
                time.sleep(max(0, 1 - (time.monotonic_ns() - when) / 1e9))
            after = {p: slot for slot in worker for p in ports_of(worker[slot], inodes)}
            load.stdin.close()
            lost = [int(x) for x in load.stdout.read().split()]
        finally:
            load.kill()
            server.proc.terminate()
            server.proc.wait()
        quiet, dead, other = split(path, kills, owner)
    print(f"{connections} connections, half of them active, {len(kills)} kills, "
          f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; ms")
    print("| requests | number | p50 | p99 | p99.9 | max |\n|---|---|---|---|---|---|")
    row("quiet time", quiet)
    row("stall, the other worker's connections", other)
    row("stall, the dead worker's connections", dead)
    row("the server's own: `took`", ms_of(server.log, "took"))
    row("the server's own: `gap`", ms_of(server.log, "gap"))
    print("lost connections {}, lost replies {}, doubled replies {}, lost locks {}".format(*lost))
    if after != owner:
        print("connections have changed their worker")
    sys.exit(any(lost) or after != owner)


main()
