"""dflockctl_look_test.py - docs/rules.md: ls, show, stats, ping: what they find, several servers,
servers that do not answer, keys of any bytes."""

import contextlib
import re
import socket
import subprocess
import threading
import zlib

from ctl import CTL, address, column, ctl, environment, hung
from harness import Server, check, check_eq, eventually, fence_of, main, temp_file, test, token_of


def of_three(key):
    return zlib.crc32(key.encode()) % 3


def one_error(r, *parts):
    """A failure is one line on standard error that has these in it."""
    check_eq(len(r.err.splitlines()), 1, f"lines of {r.err!r}")
    for x in parts:
        check(x in r.err, f"{x!r} is not in {r.err!r}")


@test("ls has each key of all servers once, with its numbers", rules=["K5"])
def ls():
    with Server() as a, Server() as b:
        c, d = a.client(), b.client()
        token_of(c.req("l", "my-key", "0 300"))
        token_of(c.req("sl", "sem", "0 7 300"))
        token_of(c.req("sl", "sem", "0 7 300"))
        check_eq(a.client().req("e", "my-key"), "queued", "e")
        c.req("r", "idle", token_of(c.req("l", "idle", "0")))
        token_of(d.req("l", "other", "0 300"))
        token_of(d.req("l", "my-key", "0 300"))
        r = ctl("ls", a, status=0)
        check_eq(column(r.out, "KEY"), ["idle", "my-key", "sem"], "keys")
        check_eq(column(r.out, "KIND"), ["lock", "lock", "sem"], "kinds")
        check_eq(column(r.out, "HOLDERS"), ["0", "1", "2"], "holders")
        check_eq(column(r.out, "LIMIT"), ["1", "1", "7"], "limits")
        check_eq(column(r.out, "WAITERS"), ["0", "1", "0"], "waiters")
        waits = column(r.out, "OLDEST WAIT")
        check(waits[0] == waits[2] == "-" and re.fullmatch(r"\d+\.\d+s", waits[1]), f"{waits}")
        check_eq(len({len(x.split("KEY")[0]) for x in r.lines[:1]}), 1, "aligned")
        check_eq({x.rindex(k) for x, k in zip(r.lines[1:], ["idle", "my-key", "sem"])},
                 {r.lines[0].rindex("KEY")}, "all keys begin below their head")
        r = ctl("ls", [a, b], status=0)
        check_eq(list(zip(column(r.out, "KEY"), column(r.out, "SERVER"))),
                 sorted([("idle", address(a)), ("my-key", address(a)), ("my-key", address(b)),
                         ("other", address(b)), ("sem", address(a))]), "of both")
        check_eq(column(ctl("ls", "m", [a, b], status=0).out, "KEY"), ["my-key"] * 2, "a prefix")
        check_eq(ctl("ls", "none", a, status=0).lines[1:], [], "a prefix of nothing")
        check_eq(column(ctl("ls", "", a, status=0).out, "KEY"), ["idle", "my-key", "sem"], "empty")
        found = ctl("ls", "--json", [a, b], status=0).json
        check_eq(sorted((x["server"], x["kind"], x["key"], x["waiters"]) for x in found),
                 sorted([(address(a), "lock", "idle", 0), (address(a), "lock", "my-key", 1),
                         (address(a), "sem", "sem", 0), (address(b), "lock", "my-key", 0),
                         (address(b), "lock", "other", 0)]), "JSON")
        check_eq({tuple(x) for x in found}, {("server", "kind", "key", "limit", "holders", "waiters",
                                              "oldest_wait_s")}, "its members")


@test("ls goes through 10,000 keys", rules=["K5"], deadline=240)
def ls_many():
    n = 10000
    with Server(["--max-locks", str(n)]) as server:
        c = server.client()
        for at in range(0, n, 1000):
            c.send("".join(f"l\nkey-{i:05}\n0 300\n" for i in range(at, at + 1000)))
            c.lines(1000)
        want = [f"key-{i:05}" for i in range(n)]
        check_eq(column(ctl("ls", server, status=0).out, "KEY"), want, "all of them, in order")
        check_eq(sorted(x["key"] for x in ctl("ls", "--json", server, status=0).json), want, "JSON")
        check_eq(column(ctl("ls", "key-012", server, status=0).out, "KEY"), want[1200:1300], "some")
        stats = ctl("stats", server, status=0)
        check_eq(column(stats.out, "LOCKS"), [str(n)], "stats")
        check_eq(len(ctl("stats", "--json", server, status=0).json[0]["locks"]), n, "JSON stats")
        check("10000 keys" in ctl("top", server, status=0).out, "top")
        check(f"table_fill=100%" in ctl("check", server, "--max-locks", str(n), status=0).out,
              "check")


@test("show has holders and the queue in order, of the server that a key belongs to", rules=["K6"])
def show():
    with Server() as a, Server() as b, Server() as c:
        servers = [a, b, c]
        for key in ["my-key", "bench", "worker-pool"]:
            home = servers[of_three(key)]
            holder, second, third = [home.client() for _ in range(3)]
            token = token_of(holder.req("l", key, "0 300"))
            check_eq(second.req("e", key), "queued", "e")
            check_eq(third.req("e", key), "queued", "e")
            r = ctl("show", key, servers, status=0)
            check_eq(r.lines[0], f"lock {key} at {address(home)}: 1 of 1 held, 2 waiting", "the head")
            _, holders, queue = r.out.split("\n\n")
            check_eq(column(holders, "ADDRESS"), [holder.local], "the holder")
            check_eq(column(holders, "FENCE"), [str(fence_of(token))], "its fence")
            check(re.fullmatch(r"4m\d\ds|5m00s", column(holders, "LEASE LEFT")[0]), "lease")
            check_eq(column(queue, "ADDRESS"), [second.local, third.local], "the queue, in order")
            check_eq(column(queue, "PLACE"), ["1", "2"], "places")
            found = ctl("show", key, "--json", servers, status=0).json
            check_eq([(x["server"], x["kind"], x["key"], x["waiters"]) for x in found],
                     [(address(home), "lock", key, 2)], "JSON")
            check_eq([x["addr"] for x in found[0]["queue"]], [second.local, third.local], "its queue")
            for other in servers:
                if other is not home:
                    r = ctl("show", key, other, status=1)
                    one_error(r, key, address(other))


@test("show has the lock and the semaphore of a key, or one of them", rules=["K6"])
def show_both():
    with Server() as server:
        c = server.client()
        token_of(c.req("l", "both", "0 300"))
        for _ in range(2):
            token_of(c.req("sl", "both", "0 3 300"))
        token_of(c.req("sl", "only", "0 3 300"))
        kinds = lambda *args: [x["kind"] for x in ctl("show", "--json", *args, server).json]
        check_eq(kinds("both"), ["lock", "sem"], "both")
        check_eq(kinds("both", "--sem"), ["sem"], "the semaphore")
        check_eq(kinds("both", "--lock"), ["lock"], "the lock")
        check_eq(kinds("both", "--lock", "--sem"), ["lock", "sem"], "both, said")
        check_eq(kinds("only"), ["sem"], "what there is")
        r = ctl("show", "both", server, status=0)
        check_eq([x for x in r.lines if " at " in x],
                 [f"lock both at {address(server)}: 1 of 1 held, 0 waiting",
                  f"semaphore both at {address(server)}: 2 of 3 held, 0 waiting"], "heads")
        one_error(ctl("show", "only", "--lock", server, status=1), "no lock has the key only")
        one_error(ctl("show", "x", "--sem", server, status=1), "no semaphore has the key x")
        one_error(ctl("show", "x", server, status=1), "no lock or semaphore has the key x")
        check_eq(ctl("show", "x", "--json", server, status=1).out, "", "no JSON of nothing")


@test("show says how many more there are than it shows", rules=["K6"])
def show_many():
    with Server() as server:
        c = server.client()
        token_of(c.req("l", "key", "0 300"))
        waiters = [server.client() for _ in range(103)]
        for w in waiters:
            check_eq(w.req("e", "key"), "queued", "e")
        r = ctl("show", "key", server, status=0)
        check("103 waiting" in r.lines[0] and r.lines[-1] == "(3 more behind them)", f"{r}")


@test("stats has a line for each server", rules=["K7"])
def stats():
    with Server() as a, Server() as b:
        c = a.client()
        for key in ["x", "y"]:
            token_of(c.req("l", key, "0 300"))
        token_of(c.req("sl", "s", "0 3 300"))
        c.req("r", "idle", token_of(c.req("l", "idle", "0")))
        check_eq(a.client().req("e", "x"), "queued", "e")
        r = ctl("stats", [a, b], status=0)
        rows = dict(zip(column(r.out, "SERVER"),
                        zip(*[column(r.out, x) for x in ["CONNECTIONS", "LOCKS", "SEMAPHORES",
                                                         "WAITERS", "IDLE KEYS"]])))
        check_eq(rows, {address(a): ("3", "2", "1", "1", "1"), address(b): ("1", "0", "0", "0", "0")},
                 "numbers")
        found = {x.pop("server"): x for x in ctl("stats", "--json", [a, b], status=0).json}
        check_eq(set(found), {address(a), address(b)}, "servers")
        check_eq(list(found[address(a)]), ["connections", "locks", "semaphores", "idle_locks",
                                           "idle_semaphores"], "what the server says")
        check_eq([x["key"] for x in found[address(a)]["idle_locks"]], ["idle"], "idle")


@test("ping tells the time of each answer, from each server", rules=["K8"])
def ping():
    with Server() as a, Server() as b:
        r = ctl("ping", a, status=0)
        check(re.fullmatch(re.escape(address(a)) + r": ping 1: \d+\.\d{3} ms", r.out.strip()), f"{r}")
        r = ctl("ping", "-c", "3", "-i", "0", [a, b], status=0)
        check_eq(sorted(x.rsplit(":", 1)[0] for x in r.lines[:6]),
                 sorted(f"{address(x)}: ping {n}" for x in (a, b) for n in (1, 2, 3)), "lines")
        for x, line in zip((a, b), r.lines[6:]):
            check(re.fullmatch(re.escape(address(x)) + r": 3 of 3 answered, min \d+\.\d{3}, mean "
                               r"\d+\.\d{3}, max \d+\.\d{3} ms", line), line)
        r = ctl("ping", "-c", "2", "-i", "0", [a, "127.0.0.1:1"], status=69)
        check(f"{address(a)}: 2 of 2 answered" in r.out, f"{r}")
        check("127.0.0.1:1: 0 of 2 answered\n" in r.out and "127.0.0.1:1: " in r.err, f"{r}")


@test("a connection that the server has ended between two pings is made again", rules=["K8"])
def ping_idle():
    with Server(["--read-timeout", "3"]) as server:
        r = ctl("ping", "-c", "3", "-i", "5", server, status=0)
        check(f"{address(server)}: 3 of 3 answered" in r.out and r.err == "", f"{r}")


@test("nobody there: 69, the address and why; what other servers say is shown all the same",
      rules=["K3", "K4"], deadline=240)
def unreachable():
    with Server() as server:
        token_of(server.client().req("l", "my-key", "0"))
        for command in [["ls"], ["stats"], ["ls", "--json"], ["stats", "--json"], ["ping"], ["top"]]:
            r = ctl(*command, "-s", "127.0.0.1:1", status=69)
            for line in r.err.splitlines():
                check(line.startswith("dflockctl: 127.0.0.1:1: "), line)
            r = ctl(*command, ["127.0.0.1:1", server], status=69)
            check(address(server) in r.out or "my-key" in r.out, f"{command}: {r}")
        for command in [["show", "my-key"], ["evict", "my-key", "--yes"]]:
            r = ctl(*command, "-s", "127.0.0.1:1", status=69)
            one_error(r, "dflockctl: 127.0.0.1:1: ")
            check_eq(r.out, "", f"{command}: output")
        one_error(ctl("ls", "--unix", "/nowhere/x", status=69), "/nowhere/x")
        one_error(ctl("ls", "-s", "no-such-host.invalid:1", status=69), "no-such-host.invalid")


@test("a server that stops answering is an error in time, whatever is asked", rules=["K4"],
      deadline=240)
def stops_answering():
    with Server() as server, Server() as other:
        token_of(server.client().req("l", "key", "0"))
        token_of(other.client().req("l", "there", "0"))
        with hung(server):
            for command in [["ls"], ["show", "key"], ["stats"], ["ping"], ["top"],
                            ["evict", "key", "--yes"]]:
                r = ctl(*command, server, "--connect-timeout", "1.5", status=69)
                one_error_of = r.err.splitlines()
                check(one_error_of and all(address(server) in x for x in one_error_of), f"{r}")
                check(1.4 <= r.took <= 30, f"{command}: {r.took:.1f} s")
            r = ctl("ls", [server, other], "--connect-timeout", "1.5", status=69)
            check_eq(column(r.out, "KEY"), ["there"], "what the other one has")
            check("CRITICAL" in ctl("check", server, "--connect-timeout", "1.5", status=2).out,
                  "check")
        check_eq(column(ctl("ls", server, status=0).out, "KEY"), ["key"], "when it goes on")


class Fake:
    """A server that gives the same answer to each request, then closes if it has no line end."""

    def __init__(self, answer):
        self.answer = answer
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn = self.sock.accept()[0]
                threading.Thread(target=self.serve, args=[conn], daemon=True).start()

    def serve(self, conn):
        with contextlib.suppress(OSError), conn, conn.makefile("rb") as lines:
            while all(lines.readline() for _ in range(3)):
                conn.sendall(self.answer)
                if not self.answer.endswith(b"\n"):
                    return

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.sock.close()


@test("a server that answers what no dflockd does: 76 and its address, whatever is asked",
      rules=["K3"], deadline=240)
def nonsense():
    commands = [["ls"], ["ls", "--json"], ["show", "k"], ["stats"], ["top"], ["evict", "k", "--yes"]]
    for answer, wrong in [
            (b"ok {}\n", commands), (b"ok []\n", commands), (b"ok nonsense\n", commands),
            # Whole objects are handed on as they are.
            (b"ok {\"resources\":[{}],\"cursor\":null}\n", [x for x in commands if len(x) < 2]),
            (b"ok {\"resources\":[],\"cursor\":7}\n", commands),
            (b"\n", commands + [["ping"]]), (b"oops\n", commands + [["ping"]]),
            (b"ok {\"connections\":-1,\"locks\":[],\"semaphores\":[],\"idle_locks\":[],"
             b"\"idle_semaphores\":[]}\n", [["stats"]]),
            (b"\xff\x00\n", commands + [["ping"]])]:
        with Fake(answer) as fake:
            for command in wrong:
                r = ctl(*command, "-s", fake.address)
                check_eq(r.status, 76, f"{command} {answer}: {r}")
                check(fake.address in r.err and not re.search("[\x00\xff]", r.err), f"{r}")
            r = ctl("check", "-s", fake.address, status=2)
            check(fake.address in r.out, f"{r}")
    with Fake(b"ok {\"resources\":[") as fake:
        for command in commands + [["ping"]]:
            check(fake.address in ctl(*command, "-s", fake.address, status=69).err, f"{command}")


@test("keys of any bytes do not reach the terminal as they are", rules=["K9"])
def any_bytes():
    raw = bytes(x for x in range(256) if x not in b" \t\n\r")
    keys = [raw[:200], b"\x1b]0;title\x07", b"a\xe2\x80\xaeb", "schlüssel-鍵".encode()]
    with Server() as server:
        c = server.client()
        for key in keys:
            token_of(c.req("l", key, "0"))
        for r in [ctl("ls", server, status=0), ctl("top", server, status=0)]:
            check(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", r.out),
                  f"{r}")
            check(r"\x1b]0;title\x07" in r.out and "schlüssel-鍵" in r.out, f"{r}")
            check(r"a\xe2\x80\xaeb" in r.out, f"{r}")
        r = ctl("ls", server, env={"LC_ALL": "C"}, status=0)
        check(r.out.isascii() and r"schl\xc3\xbcssel-\xe9\x8d\xb5" in r.out, f"{r}")
        found = {x["key"] for x in ctl("ls", "--json", server, status=0).json}
        check("\x1b]0;title\x07" in found and "schlüssel-鍵" in found, "JSON has them as they are")
        r = subprocess.run([CTL, "show", b"\x1b]0;title\x07", "-s", address(server)],
                           env=environment({}), capture_output=True)
        check(r.returncode == 0 and b"\x1b" not in r.stdout and rb"\x1b]0;title" in r.stdout, f"{r}")
        r = subprocess.run([CTL, "show", b"\x1b[2J", "-s", address(server)],
                           env=environment({}), capture_output=True)
        check(r.returncode == 1 and b"\x1b" not in r.stderr, f"{r}")


@test("what cannot be written is an error", rules=["K3"])
def full():
    with Server() as server:
        token_of(server.client().req("l", "key", "0"))
        for command in [["ls"], ["ls", "--json"], ["stats", "--json"], ["show", "key"], ["--help"]]:
            with open("/dev/full", "wb") as sink:
                p = subprocess.run([CTL, *command, "-s", address(server)], env=environment({}),
                                   stdout=sink, stderr=subprocess.PIPE)
            check_eq(p.returncode, 74, f"{command}: {p.stderr}")


if __name__ == "__main__":
    main()
