"""dflockctl_check_test.py - docs/rules.md: dflockctl check, as a monitoring system reads it."""

import re

from ctl import address, ctl, hung
from harness import Server, check, check_eq, eventually, main, test, token_of

NAMES = ["OK", "WARNING", "CRITICAL", "UNKNOWN"]


def checked(*args, status=None, env=None):
    """(status, text, {label: (value, warn, crit, min, max)}) of a line of the right form."""
    r = ctl("check", *args, env=env)
    check_eq((len(r.lines), r.err), (1, ""), f"{args}: one line, and no errors: {r}")
    m = re.fullmatch(r"DFLOCK (OK|WARNING|CRITICAL|UNKNOWN) - ([^|]*)(?: \|((?: (?:[^ '=|]+|'[^'=|]+')="
                     r"[0-9.]+(?:s|%)?(?:;[0-9.]*){0,4})+))?", r.lines[0])
    check(m, f"no line of the convention: {r}")
    check_eq(r.status, NAMES.index(m[1]), f"status and word: {r}")
    check(status is None or r.status == status, f"{args}: {status} expected: {r}")
    perf = {}
    for quoted, plain, value, limits in re.findall(
            r"(?:'([^']+)'|([^ '=]+))=([0-9.]+)(?:s|%)?((?:;[0-9.]*)*)", m[3] or ""):
        perf[quoted or plain] = (float(value), *limits.split(";")[1:])
    return r.status, m[2], perf


def waiting(server, n):
    eventually(lambda: checked(server)[2]["waiters"][0] == n, timeout=30, text=f"{n} wait")


@test("check says in one line how a server is, with perfdata", rules=["K14"])
def good():
    with Server() as server:
        c = server.client()
        token_of(c.req("l", "key", "0"))
        token_of(c.req("sl", "sem", "0 3"))
        c.req("r", "idle", token_of(c.req("l", "idle", "0")))
        status, text, perf = checked(server, status=0)
        check_eq(set(perf), {"waiters", "oldest_wait", "connections"}, "labels")
        check_eq(perf["waiters"], (0.0, "", "", "0"), "waiters")
        check_eq(perf["connections"], (2.0, "", "", "0"), "connections")
        check("1 of 1 servers answered, 2 connections, 3 keys, 0 waiting" in text, text)
        perf = checked(server, "--max-locks", "10", "--table-fill-warn", "80", "--table-fill-crit",
                       "90", status=0)[2]
        check_eq(perf["table_fill"], (30.0, "80", "90", "0", "100"), "fill, idle keys included")


@test("each threshold: more than it is over it, as much is not; the worst counts", rules=["K15"])
def thresholds():
    with Server() as server:
        c = server.client()
        token_of(c.req("l", "a", "0 300"))
        token_of(c.req("sl", "b", "0 2 300"))
        token_of(c.req("sl", "b", "0 2 300"))
        queue = [server.client() for _ in range(3)]
        for w, command in zip(queue, [("l", "a", "200"), ("l", "a", "200"), ("sl", "b", "200 2")]):
            w.ask(*command)
        waiting(server, 3)
        eventually(lambda: checked(server)[2]["oldest_wait"][0] > 1.1, timeout=20)
        table = ["--max-locks", "8"]  # 2 keys: 25 %
        for name, over, exact, more in [
                ("waiters", "2", "3", []), ("connections", "4", "5", []),
                ("table-fill", "24.9", "25", table), ("oldest-wait", "1.1", "9000", [])]:
            label = name.replace("-", "_")
            for level, want in [("warn", 1), ("crit", 2)]:
                status, text, _ = checked(server, f"--{name}-{level}", over, *more)
                check_eq(status, want, f"{name} over {level}: {text}")
                check(f"(over {over})" in text and address(server) in text, text)
                # The server may not have seen yet that the call before has ended its connection.
                perf = eventually(lambda: (lambda r: r[0] == 0 and r[2])(
                    checked(server, f"--{name}-{level}", exact, *more)), timeout=30,
                    text=f"{name} not over {level}")
                check_eq(perf[label][want], exact, f"{name}: perfdata")
            check_eq(checked(server, f"--{name}-warn", "0", f"--{name}-crit", over, *more)[0], 2,
                     "over both")
        status, text, _ = checked(server, "--waiters-warn", "1", "--connections-crit", "1")
        check(status == 2 and text.count("(over 1)") == 2, f"the worst of two: {text}")
        for w in queue:
            w.close()
        waiting(server, 0)
        check_eq(checked(server)[2]["oldest_wait"][0], 0.0, "nobody waits")
        checked(server, "--waiters-crit", "0", "--oldest-wait-crit", "0", status=0)


@test("several servers: a threshold holds for each, and each has its perfdata", rules=["K15"])
def several():
    with Server() as a, Server() as b:
        clients = [b.client() for _ in range(3)]
        for c in clients:
            check_eq(c.req("ping"), "ok", "ping")
        status, text, perf = checked([a, b], "--connections-warn", "3", status=1)
        check(f"{address(b)}: 4 connections (over 3)" in text and f"{address(a)}: 1" not in text, text)
        check("2 of 2 servers answered, 5 connections" in text, text)
        check_eq(set(perf), {f"{address(x)} {label}" for x in (a, b)
                             for label in ["waiters", "oldest_wait", "connections"]}, "labels")
        check_eq((perf[f"{address(a)} connections"][0], perf[f"{address(b)} connections"][0]),
                 (1.0, 4.0), "connections")
        status, text, perf = checked([a, "127.0.0.1:1"], status=2)
        check("127.0.0.1:1: " in text and "1 of 2 servers answered" in text, text)
        check_eq(set(x.rsplit(" ", 1)[0] for x in perf), {address(a)}, "perfdata of who answered")


@test("no server is CRITICAL, within the time given; wrong options are UNKNOWN", rules=["K14", "K4"],
      deadline=120, needs=["tls"])
def trouble():
    checked("-s", "127.0.0.1:1", status=2)
    with Server() as server, hung(server):
        status, text, perf = checked(server, "--connect-timeout", "1", status=2)
        check(address(server) in text and not perf, text)
    for args, says in [(["--bogus"], "--bogus"), (["--waiters-warn", "x"], "--waiters-warn: 'x'"),
                       (["--waiters-warn", "-1"], "--waiters-warn"),
                       (["--waiters-warn", "5", "--waiters-crit", "4"], "waiters"),
                       (["--table-fill-crit", "90"], "--max-locks"),
                       (["--max-locks", "0"], "--max-locks: '0'"), (["extra"], "extra"),
                       (["--json"], "--json"), (["-s", "a|b:x"], "--servers"),
                       (["--tls-ca-file", "/none|x"], "--tls-ca-file")]:
        check(says in checked(*args, status=3)[1], f"{args}")
    check("DFLOCK_TLS" in checked(env={"DFLOCK_TLS": "x"}, status=3)[1], "a variable")


if __name__ == "__main__":
    main()
