"""tests/bench/rows_floods.py - rows of the benchmark about clients that mean no good (tests/bench/flood).

"A client that behaves" is eight connections of another process, made before the flood, that ask at fixed
times; latency counts from when a request was due. Each turn measures it on the quiet server, then
during the flood, then during a flood that gets only processor time that nobody else wants (SCHED_IDLE):
an attacker on another machine takes none of this one's, and what is left then is what it makes the
server do. The same is done to the bare echo server. What is a multiple there as well is the
machine's: its kernel's work for each connection and packet, and who gets its few processors.
"""

import contextlib
import os
import resource
import time

from bench import figure, row
from rows_scale import MS, PROBE, Clients, Crowd, ask, descriptors, eventually, many, port_of, region_bytes


class Flood(Clients):
    """tests/bench/flood, at work to the end of the `with` block."""

    def __init__(self, bench, server, *arguments):
        mode, *options = arguments
        super().__init__(server, bench.path("tests/bench/flood"), *options, mode, port_of(server))

    def done(self):
        """What it has done so far."""
        self.tell("")
        return self.hear()


def socket_memory():
    """What the kernel has of all TCP sockets' bytes, in bytes."""
    with open("/proc/net/sockstat") as f:
        line = next(x for x in f if x.startswith("TCP:")).split()
    return int(line[line.index("mem") + 1]) * resource.getpagesize()


def answers(server):
    """Whatever it says to a newcomer."""
    try:
        return ask(server, [("ping", "", "")]) != [""]
    except OSError:
        return False


class Turn:
    """A client that behaves: on the quiet server, and in each sort of flood."""

    def __init__(self, bench, server, flood, probe, both, begun=None, over=None):
        self.p99, self.rate, self.pss, self.sockets = {}, {}, 0, 0
        sorts = ["flood", "behind"] if both else ["flood"]
        seconds = min(bench.seconds, 0.5)
        with contextlib.ExitStack() as ends:
            loads = {sort: ends.enter_context(bench.loading(
                server, seconds=seconds * (1 if sort == "quiet" else 2), **{**PROBE, "prefix": sort, **probe}))
                for sort in ["quiet", *sorts]}
            self.run("quiet", loads)
            before = descriptors(server)
            for sort in sorts:
                extra = ["--behind"] if sort == "behind" else []
                with Flood(bench, server, *flood, *extra) as it:
                    if begun:
                        begun(server, it)
                    done, at = it.done(), time.monotonic()
                    self.run(sort, loads)
                    took = time.monotonic() - at
                    self.rate[sort] = {k: (v - done[k]) / took for k, v in it.done().items()}
                    self.during(server)
                if over:
                    over(server)
                eventually(lambda: answers(server), "it answers a newcomer, behind all those of the flood", 60)
                eventually(lambda: descriptors(server) <= before + 4, "all sockets are closed")

    def during(self, server):
        self.pss = max(self.pss, mib(server))
        self.sockets = max(self.sockets, socket_memory() / (1 << 20))

    def run(self, sort, loads):
        self.p99[sort] = loads[sort].run()["latency_ns"]["p99"] / MS

    def times(self, sort):
        return self.p99[sort] / self.p99["quiet"]


def measured(bench, server, flood, probe=None, both=True, counts=("dialled",), beside=True, **hooks):
    """Figures of a flood at `server`, and at the echo server; and the last turn."""
    echo = bench.echo() if beside else None
    ours, limit = [], []
    for _ in range(1 if bench.quick else min(bench.rounds, 3)):
        ours.append(Turn(bench, server, flood, probe or {}, both, **hooks))
        if echo:
            limit.append(Turn(bench, echo, [x for x in flood if x not in aimed(server)], probe or {}, both))
        bench.say(".")
    figures = []
    for sort in ["flood", "behind"] if both else ["flood"]:
        name = {"flood": "p99", "behind": "p99, the flood behind all others"}[sort]
        figures.append(figure(f"{name}, × quiet", [t.times(sort) for t in ours], at_most=2,
                              note=f"{middle(ours, 'quiet'):.3g} → {middle(ours, sort):.3g} ms"))
        if echo:
            figures.append(figure(f"{name}, × quiet: echo", [t.times(sort) for t in limit],
                                  note=f"{middle(limit, 'quiet'):.3g} → {middle(limit, sort):.3g} ms"))
            figures.append(figure(f"{name}, × that of echo in the same flood",
                                  [a.p99[sort] / b.p99[sort] for a, b in zip(ours, limit)]))
        for what in counts:
            text = {"dialled": "connections made", "granted": "locks granted", "refused": "requests refused",
                    "answers": "answers"}[what] + (", behind" if sort == "behind" else "")
            figures.append(figure(text, [t.rate[sort][what] for t in ours], "/s"))
    return figures, ours[-1]


def aimed(server):
    return ("--one-shard", str(server.pid))


def middle(turns, sort):
    return sorted(t.p99[sort] for t in turns)[len(turns) // 2]


def size(bench, n, few):
    return few if bench.quick else n


def mib(server):
    return server.pss_kib() / 1024


def memory(before, after, what="memory of the server, all processes, more in the flood"):
    return figure(what, after - before, "MiB", note=f"{before:.1f} → {after:.1f} MiB")


def region_mib(server):
    return region_bytes(server) / (1 << 20)


@row("flood: 10,000 idle connections", target="others' p99 ≤ 2 × quiet", limit=40)
def flood_idle(bench):
    n = size(bench, 10000, 500)
    server = many(bench, ("--read-timeout", "3600"), n)
    before = mib(server)
    figures, last = measured(bench, server, ["idle", "--connections", n], both=False, counts=())
    return [*figures, memory(before, last.pss), figure("the same, a connection", (last.pss - before) * (1 << 20) / n,
                                                       "bytes")]


@row("flood: 2,000 slow-loris, a byte a second each", target="others' p99 ≤ 2 × quiet", limit=40)
def flood_loris(bench):
    n = size(bench, 2000, 200)
    server = many(bench, (), n)
    before = mib(server)
    figures, last = measured(bench, server, ["loris", "--connections", n], both=False, counts=())
    return [*figures, memory(before, last.pss), figure("the same, a connection", (last.pss - before) * (1 << 20) / n,
                                                       "bytes")]


@row("flood: 1,000 slow readers of stats with 10,000 locks", target="others' p99 ≤ 2 × quiet", limit=60)
def flood_readers(bench):
    n, locks = size(bench, 1000, 50), size(bench, 10000, 1000)
    server = many(bench, ("--max-locks", locks + 1000), n)
    with Crowd(bench, server, "hold", 8, locks):
        before, sockets = mib(server), socket_memory() / (1 << 20)
        figures, last = measured(bench, server, ["readers", "--connections", n], counts=())
    return [*figures, memory(before, last.pss),
            memory(sockets, last.sockets, "the kernel's memory of TCP connections, more in the flood")]


@row("flood: connections opened and closed as fast as can be", target="others' p99 ≤ 2 × quiet", limit=60)
def flood_churn(bench):
    server = bench.dflockd()
    before = mib(server)
    figures, _ = measured(bench, server, ["churn", "--processes", 2])
    return [*figures, memory(before, mib(server), "memory of the server, more after the flood")]


@row("flood: keys never seen before, acquired and released", target="others' p99 ≤ 2 × quiet", limit=60)
def flood_keys(bench):
    server = bench.dflockd("--max-locks", "100000")
    flood = ["keys", "--connections", 16, "--processes", 2]
    # Idle keys are kept until --max-locks is reached: from there on memory is looked at.
    with Flood(bench, server, *flood) as first:
        eventually(lambda: first.done()["granted"] > 150000, "more keys than --max-locks")
        keys, before, region = first.done()["granted"], mib(server), region_mib(server)
        eventually(lambda: first.done()["granted"] > keys + size(bench, 10 ** 6, 10 ** 5), "a million more")
        after, grown = mib(server), region_mib(server)
    figures, _ = measured(bench, server, flood, counts=("granted",))
    return [*figures, memory(before, after, "memory of the server, more after a million keys more"),
            memory(region, grown, "of that, the region")]


@row("flood: the same by who knows the hash, all keys of one shard", target="others' p99 ≤ 2 × quiet", limit=60)
def flood_one_shard(bench):
    server = bench.dflockd("--max-locks", "100000")
    before = mib(server)
    # The shard has room for its share of --max-locks, and is full soon.
    figures, last = measured(bench, server, ["keys", "--connections", 16, "--processes", 2, *aimed(server)],
                             counts=("refused",))
    return [*figures, memory(before, last.pss)]


@row("flood: every lock, waiter and connection used, and more asked for", target="others' p99 ≤ 2 × quiet",
     limit=60)
def flood_full(bench):
    n, locks = size(bench, 400, 40), size(bench, 100000, 5000)
    # A client that behaves has its connections and locks by then, three times.
    server = many(bench, ("--max-locks", locks, "--max-waiters", n // 4, "--max-connections", n + 24), n)
    before, region = mib(server), region_mib(server)
    figures, last = measured(bench, server, ["full", "--connections", n, "--locks", 2 * locks, "--dial"],
                             probe={"workload": "renew"}, counts=("refused", "dialled"))
    return [*figures, memory(before, last.pss), memory(region, region_mib(server), "of that, the region")]


@row("flood: connections when descriptors are exhausted", target="others' p99 ≤ 2 × quiet", limit=40)
def flood_descriptors(bench):
    n = size(bench, 500, 100)
    server = many(bench, (), n)
    before = mib(server)
    limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)

    def exhaust(server, flood):
        """Fewer than it has now, whatever it closes."""
        eventually(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) > n, "it has them all")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (n // 2, limit[1]))
        eventually(lambda: "cannot accept connections" in server.said(), "it has no descriptor left")

    def recover(server):
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)

    figures, last = measured(bench, server, ["idle", "--connections", n, "--dial"], beside=False, begun=exhaust,
                             over=recover)
    return [*figures, memory(before, last.pss)]


def with_secret(bench, *options):
    path = os.path.join(bench.dir, "secret")
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write("correct horse\n")
    return bench.dflockd("--auth-token-file", path, *options)


@row("flood: 10,000 strangers without the secret, each once a second", target="others' p99 ≤ 2 × quiet",
     limit=240)  # whoever comes then waits until those who wait have been heard
def flood_strangers(bench):
    n = size(bench, 10000, 500)
    many(bench, (), n).stop()
    server = with_secret(bench)
    before = mib(server)
    figures, last = measured(bench, server, ["strangers", "--connections", n], probe={"secret": "correct horse"})
    return [*figures, memory(before, last.pss)]


@row("flood: 500 clients that guess at the secret, again and again", target="others' p99 ≤ 2 × quiet", limit=60)
def flood_guessers(bench):
    n = size(bench, 500, 50)
    server = with_secret(bench)
    before = mib(server)
    figures, last = measured(bench, server, ["guessers", "--connections", n], probe={"secret": "correct horse"})
    return [*figures, memory(before, last.pss)]
