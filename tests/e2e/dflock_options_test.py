#!/usr/bin/env python3
"""dflock_options_test.py - each option of dflock, each exit code, what the command is given, and what
is said about mistakes."""

import json
import os
import re
import signal
import socket
import time

from certs import authority
from dflock import LONG, Dflock, becomes_free, boottime, gone, is_held, lenient_server, run_dflock
from harness import (check, check_eq, elapsed, eventually, json_of, main, temp_dir, temp_file, test,
                     token_of)


def refused(args, code, *texts, server=None, env=None, timeout=LONG):
    got, out, err = run_dflock(server, args, timeout, env=env)
    check_eq(got, code, f"the exit code of {args}: {err}")
    check_eq(out, "", f"stdout of {args}")
    check_eq(len(err.splitlines()), 1, f"lines that {args} says: {err}")
    check(err.startswith("dflock: "), f"'{err}' does not say who says it")
    for text in texts:
        check(text in err, f"'{text}' is not in: {err}")


@test("the command is run as it is, without a shell, and its exit code is dflock's", rules=["R1"])
def runs():
    with lenient_server() as server:
        check_eq(run_dflock(server, ["k", "printf", "%s|", "a b", "$HOME", "*", ""]),
                 (0, "a b|$HOME|*||", ""), "without --")
        check_eq(run_dflock(server, ["k", "--", "printf", "%s|", "-n", "--", "x"]),
                 (0, "-n|--|x|", ""), "with --")
        check_eq(run_dflock(server, ["k", "sh", "-c", "exit 7"]), (7, "", ""), "an exit code")
        check_eq(run_dflock(server, ["k", "cat"], input="text", stdin=None), (0, "text", ""), "stdin")
        check_eq(run_dflock(server, ["k", "sh", "-c", "echo wrong >&2"]), (0, "", "wrong\n"), "stderr")
        becomes_free(server, "k")


@test("-c runs a string by /bin/sh, before or after the key", rules=["R1"])
def shell():
    with lenient_server() as server:
        check_eq(run_dflock(server, ["-c", "echo a; echo b", "k"], env={"SHELL": "/bin/false"}),
                 (0, "a\nb\n", ""), "before")
        check_eq(run_dflock(server, ["k", "-c", "exit 4"]), (4, "", ""), "after")
        check_eq(run_dflock(server, ["k", "--command=exit 5"]), (5, "", ""), "long")
        refused(["k", "-c", "true", "false"], 64, "-c 'true'", "'false'", server=server)


@test("a command that a signal ended: 128 + the signal", rules=["R2"])
def by_signal():
    with lenient_server() as server:
        for name in ["KILL", "TERM", "SEGV", "USR1"]:
            code, _, _ = run_dflock(server, ["k", "sh", "-c", f"ulimit -c 0; kill -{name} $$"])
            check_eq(code, 128 + getattr(signal, "SIG" + name), name)


@test("wrong usage is 64, and says what is wrong, where, and what would be right", rules=["R3"], needs=["tls"])
def usage():
    for args, *texts in [
            ([], "key is missing", "dflock --help"),
            (["k"], "what to run under the lock 'k'"),
            (["k", "--"], "what to run under the lock 'k'"),
            (["--bogus", "k", "true"], "--bogus: no such option"),
            (["-n", "-z", "k", "true"], "-z: no such option"),
            (["k", "-vz", "true"], "-z: no such option"),
            (["--tt=1", "-c"], "-c: its argument is missing"),
            (["k", "--ttl"], "--ttl: its argument is missing"),
            (["--ttl", "0", "k", "true"], "--ttl: 0 is not a lease in seconds; 1 to 9223372036"),
            (["--ttl", "9223372037", "k", "true"], "--ttl: 9223372037 is not a lease"),
            (["--ttl", "99999999999999999999", "k", "true"], "--ttl: 99999999999999999999 is not"),
            (["--ttl", "1.5", "k", "true"], "--ttl: '1.5' is not a whole number"),
            (["--ttl", "", "k", "true"], "--ttl: '' is not a whole number"),
            (["-w", "-1", "k", "true"], "-w: '-1' is not a number of seconds"),
            (["-w", "1e3", "k", "true"], "-w: '1e3' is not a number of seconds"),
            (["-w", "nan", "k", "true"], "-w: 'nan' is not a number of seconds"),
            (["--timeout=9223372037", "k", "true"], "9223372037", "at most 9223372036"),
            (["--min-hold", "x", "k", "true"], "--min-hold: 'x' is not a number of seconds"),
            (["--kill-after", "x", "k", "true"], "--kill-after: 'x' is not a number of seconds"),
            (["-E", "256", "k", "true"], "-E: 256 is not an exit code; 0 to 255"),
            (["-E", "-1", "k", "true"], "-E: -1 is not an exit code"),
            (["-N", "0", "k", "true"], "-N: 0 is not a number of slots; 1 to 1048576"),
            (["-N", "1048577", "k", "true"], "-N: 1048577 is not a number of slots"),
            (["--auth-token-file", "/nowhere", "k", "true"], "/nowhere"),
            (["--tls-ca-file", "/nowhere", "k", "true"], "/nowhere"),
            (["-s", "a b:1", "k", "true"], "a b"),
            (["-s", "", "k", "true"], "servers")]:
        refused(args, 64, *texts)


@test("a key that is none is 64, before a server is asked", rules=["R3"])
def keys():
    for key in ["", "a b", "a\tb", "a\nb", "k" * 257]:
        refused(["-s", "127.0.0.1:1", key, "true"], 64, "key")
    with lenient_server() as server:
        for key in ["k" * 256, "ключ", "a\x01b", b"\xff\xfe"]:
            check_eq(run_dflock(server, [key, "true"])[0], 0, f"the key {key!r}")
        code, _, err = run_dflock(server, ["-v", "a\x1b[31m\xff\x07", "true"])
        check_eq(code, 0, err)
        check("\x1b" not in err and "\x07" not in err, f"the terminal would obey: {err!r}")


@test("no server: 69, in words; one that does not answer as well", rules=["R4"], deadline=150)
def unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused(["-s", f"127.0.0.1:{port}", "--connect-timeout", "1", "-w", "0", "k", "true"], 69,
                f"127.0.0.1:{port}")
    with socket.socket() as deaf:  # has the port, so that nobody else gets it, and does not listen
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        refused(["-s", f"127.0.0.1:{port}", "k", "true"], 69, f"127.0.0.1:{port}", "refused")
    refused(["--unix", "/nowhere/socket", "k", "true"], 69, "/nowhere/socket")
    # Without a name server that answers, a look-up takes its time.
    refused(["-s", "no-such-host.invalid", "k", "true"], 69, "no-such-host.invalid", timeout=90)


@test("a server that cannot give the lock: 69, and the reason", rules=["R4"])
def full():
    with lenient_server(["--max-locks", "1", "--max-waiters", "1"]) as server:
        holder, waiter = server.client(), server.client()
        token_of(holder.req("l", "a", "0 600"))
        refused(["b", "true"], 69, "max", server=server)
        waiter.ask("l", "a", "600")
        eventually(lambda: '"waiters":1' in holder.req("stats"), LONG, "no waiter")
        refused(["a", "true"], 69, "wait", server=server)


@test("a semaphore that others use with another limit: 64", rules=["R3"])
def mismatch():
    with lenient_server() as server:
        token_of(server.client().req("sl", "s", "0 3 600"))
        refused(["-N", "2", "s", "true"], 64, "limit", server=server)


@test("a lease that the server does not give: 69, and what to look at", rules=["R4"])
def long_lease():
    with lenient_server(["--max-lease-ttl", "100"]) as server:
        refused(["--ttl", "101", "k", "true"], 69, "--max-lease-ttl", server=server)
        check_eq(run_dflock(server, ["--ttl", "100", "k", "true"])[0], 0, "the longest")


@test("a server that drains: 69", rules=["R4"], deadline=120)
def draining():
    with lenient_server(["--shutdown-timeout", "600"]) as server:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))
        with Dflock(server, ["k", "true"]) as run:
            eventually(lambda: '"waiters":1' in holder.req("stats"), LONG, "no waiter")
            server.kill(signal.SIGTERM)
            run.ends(69)
            check("about to stop" in run.errors()[0], f"what it says: {run.text()}")
        check_eq(holder.req("r", "k", token), "ok", "the release")
        holder.close()


@test("a server that wants another secret: 77; with the right one it works", rules=["R5"])
def auth():
    with lenient_server(["--auth-token-file", temp_file(b"secret\n")]) as server:
        refused(["k", "true"], 77, "--auth-token-file", server=server)
        refused(["--auth-token-file", temp_file(b"other\n"), "k", "true"], 77, "--auth-token-file",
                server=server)
        right = temp_file(b"secret\n")
        check_eq(run_dflock(server, ["--auth-token-file", right, "k", "true"])[0], 0, "the right one")
        check_eq(run_dflock(server, ["k", "true"], env={"DFLOCK_AUTH_TOKEN_FILE": right})[0], 0,
                 "by the environment")
    # One without any refuses it, and would serve whoever goes on.
    with lenient_server() as server:
        ran = os.path.join(temp_dir(), "ran")
        refused(["--auth-token-file", right, "k", "touch", ran], 77, "secret", server=server)
        check(not os.path.exists(ran), "the command was not run")


@test("a command that is not there: 127; one that cannot be run: 126; the lock is free again",
      rules=["R6"])
def cannot_run():
    with lenient_server() as server:
        for command, code in [("/nowhere/command", 127), ("no-such-command-at-all", 127),
                              ("/etc/passwd", 126), ("/", 126), (temp_file(b"text"), 126)]:
            refused(["k", command], code, f"cannot run '{command}'", server=server)
            becomes_free(server, "k")


@test("-n does not wait, -w waits so long: then 1, or what -E says, without a word", rules=["R7"],
      deadline=120)
def not_got():
    with lenient_server() as server:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))
        ran = os.path.join(temp_dir(), "ran")
        for args, code, least in [(["-n"], 1, 0), (["--nonblock", "-E", "0"], 0, 0), (["-w", "0"], 1, 0),
                                  (["-w", "0.3"], 1, 0.3), (["-w1", "-E", "200"], 200, 1),
                                  (["--timeout=1.2", "--conflict-exit-code=9"], 9, 1.2)]:
            took = elapsed()
            check_eq(run_dflock(server, [*args, "k", "touch", ran]), (code, "", ""), f"{args}")
            check(took() >= least, f"{args}: only {took():.2f} s")
        check(not os.path.exists(ran), "the command was run")
        with Dflock(server, ["k", "touch", ran]) as run:  # without them, for ever
            eventually(lambda: '"waiters":1' in holder.req("stats"), LONG, "no waiter")
            check(run.proc.poll() is None, "it has ended")
            check_eq(holder.req("r", "k", token), "ok", "the release")
            run.ends(0)
        check(os.path.exists(ran), "the command was not run")


@test("the lock is kept until the last process that the command left has ended", rules=["R8"],
      deadline=120)
def left_behind():
    with lenient_server() as server:
        go = os.path.join(temp_dir(), "go")
        script = f"setsid -f sh -c 'while ! [ -e {go} ]; do sleep 0.05; done' >/dev/null 2>&1; exit 3"
        with Dflock(server, ["k"], command=script) as run:
            run.event("waiting_for_rest")
            check(is_held(server, "k"), "the lock was given away")
            check(run.proc.poll() is None, "it has ended")
            with open(go, "w", encoding="ascii"):
                pass
            run.ends(3)
        becomes_free(server, "k")


@test("-N: so many at a time", rules=["R9"], deadline=120)
def semaphore():
    with lenient_server() as server:
        gate = os.path.join(temp_dir(), "gate")
        script = f"while ! [ -e {gate} ]; do sleep 0.05; done"
        runs = [Dflock(server, ["-N", "2", "s"], command=script) for _ in range(2)]
        for r in runs:
            r.command()
        check_eq(run_dflock(server, ["-N", "2", "-n", "s", "true"])[0], 1, "a third")
        check_eq(run_dflock(server, ["-n", "s", "true"])[0], 0, "a lock of that name")
        with open(gate, "w", encoding="ascii"):
            pass
        for r in runs:
            r.ends(0)
        check_eq(run_dflock(server, ["--limit", "2", "-w", "15", "s", "true"])[0], 0, "afterwards")


@test("--ttl is the lease, which is renewed while the command runs; the default is the server's",
      rules=["R10"], deadline=120)
def lease():
    with lenient_server(["--default-lease-ttl", "17"]) as server:
        check_eq(run_dflock(server, ["k", "sh", "-c", "echo $DFLOCK_LEASE"])[1], "17\n", "the default")
        check_eq(run_dflock(server, ["--ttl", "40", "k", "sh", "-c", "echo $DFLOCK_LEASE"])[1], "40\n",
                 "another")
        with Dflock(server, ["--ttl", "20", "--kill-after", "0", "k", "sleep", "1000"]) as run:
            run.command()
            end = time.monotonic() + 23
            while time.monotonic() < end:
                check(is_held(server, "k"), "the lock was lost")
                time.sleep(0.2)


@test("--kill-after that leaves no time for renewals is refused, whoever chose the lease", rules=["R3"])
def kill_after():
    with lenient_server(["--default-lease-ttl", "22"]) as server:
        refused(["--kill-after", "5.6", "k", "true"], 64, "--kill-after: 5.6", "at most 5.5",
                server=server)
        refused(["--kill-after", "4.1", "--ttl", "16", "k", "true"], 64, "at most 4 ", server=server)
        refused(["--kill-after", "8", "--ttl", "3600", "k", "true"], 64, "at most 7.5",
                server=server)
        becomes_free(server, "k")
        check_eq(run_dflock(server, ["--kill-after", "5.5", "k", "true"])[0], 0, "the most")


def kept_for(server, run):
    """How long, until somebody else got it; at least. It was granted after dflock had asked."""
    with server.client() as c:
        token_of(c.req("l", "k", "60", timeout=70))
    return boottime() - run.event("waiting")["time"]


@test("--min-hold keeps the lock so long, also after a command that was faster", rules=["R11"])
def min_hold():
    with lenient_server() as server:
        with Dflock(server, ["--min-hold", "8", "k", "sh", "-c", "exit 6"]) as run:
            run.event("resting")
            kept = kept_for(server, run)
            run.ends(6)
            check(kept >= 8, f"kept for {kept:.2f} s only")


@test("--min-hold is kept when dflock is ended by a signal meanwhile, even by KILL", rules=["R11"])
def min_hold_signals():
    with lenient_server() as server:
        for signum, code in [(signal.SIGTERM, 6), (signal.SIGKILL, -9)]:
            run = Dflock(server, ["--min-hold", "10", "k", "sh", "-c", "exit 6"])
            run.event("resting")
            guardian = run.guardian()
            os.kill(run.pid, signum)
            run.ends(code)
            begun = run.event("waiting")["time"]
            # The time is read last: a look that took long may have come too late.
            check(is_held(server, "k") or boottime() - begun >= 10,
                  "dflock has ended with the hold, not before")
            kept = kept_for(server, run)
            check(kept >= 10, f"kept for {kept:.2f} s only")
            eventually(lambda: gone(guardian), LONG, "the guardian stays")
        # While the command runs: it is ended, and the lock kept.
        run = Dflock(server, ["--min-hold", "10", "k", "sleep", "1000"])
        run.event("started")
        guardian = run.guardian()
        os.kill(run.pid, signal.SIGKILL)
        run.ends(-9)
        kept = kept_for(server, run)
        check(kept >= 10, f"kept for {kept:.2f} s only")
        eventually(lambda: gone(guardian), LONG, "the guardian stays")


@test("without --ttl the server's default counts, also when it is changed meanwhile", rules=["R30"],
      deadline=120)
def default_lease():
    conf = temp_file(b"default_lease_ttl = 33\n")
    with lenient_server(["--config", conf]) as server, Dflock(server, ["k", "sleep", "1000"]) as run:
        run.event("started")
        watch = server.client()

        def lease_left():
            shown = json_of(watch.req("show", "k", "lock"))
            return shown["holders"][0]["lease_expires_in_s"]

        for ttl in (15, 60):
            with open(conf, "w", encoding="ascii") as f:
                f.write(f"default_lease_ttl = {ttl}\n")
            since = server.mark()
            server.kill(signal.SIGHUP)
            server.wait_log("reload .*result=done", LONG, since)
            eventually(lambda: ttl - 3 < lease_left() <= ttl, 2 * LONG, f"a renewal for {ttl} s")
            # Renewed every 3 s, or every 12: it goes on.
            end = boottime() + 5
            while boottime() < end:
                check(not gone(run.command()), f"{ttl} s: the command was ended: {run.events()}")
                time.sleep(0.1)


@test("the command knows the lock: DFLOCK_KEY, DFLOCK_TOKEN, DFLOCK_FENCE, DFLOCK_LEASE",
      rules=["R12"])
def environment():
    with lenient_server() as server:
        show = "echo $DFLOCK_KEY $DFLOCK_TOKEN $DFLOCK_FENCE $DFLOCK_LEASE"
        code, out, _ = run_dflock(server, ["--ttl", "21", "my-key", "sh", "-c", show],
                                  env={"DFLOCK_KEY": "stale", "DFLOCK_FENCE": "1"})
        check_eq(code, 0, "the exit code")
        key, token, fence, lease_s = out.split()
        check_eq((key, lease_s), ("my-key", "21"), "key and lease")
        check_eq(int(token[:16], 16), int(fence), "the fence")
        with Dflock(server, ["k"], command="echo $DFLOCK_TOKEN; exec sleep 1000") as run:
            token = eventually(run.out, LONG, "no token").strip()
            with server.client() as c:
                check_eq(c.req("n", "k", token), "ok 33", "a renewal with the command's token")


@test("the environment says where the servers are; the command line wins", rules=["R28"], needs=["tls"])
def where():
    path = os.path.join(temp_dir(), "socket")
    ca = authority()
    cert = ca.issue("localhost")
    with lenient_server(["--unix-socket", path]) as server, lenient_server(cert.args) as tls:
        here = {"DFLOCK_SERVERS": f"127.0.0.1:{server.port}"}
        check_eq(run_dflock(None, ["k", "true"], env=here)[0], 0, "DFLOCK_SERVERS")
        check_eq(run_dflock(None, ["k", "true"], env={"DFLOCK_SERVERS": "127.0.0.1:1"})[0], 69,
                 "a wrong one")
        check_eq(run_dflock(server, ["k", "true"], env={"DFLOCK_SERVERS": "127.0.0.1:1"})[0], 0, "-s")
        check_eq(run_dflock(None, ["--unix", path, "k", "true"])[0], 0, "--unix")
        check_eq(run_dflock(None, ["-s", f"localhost:{tls.port}", "--tls-ca-file", ca.cert, "k", "true"])[0],
                 0, "TLS")
        check_eq(run_dflock(None, ["-s", f"localhost:{tls.port}", "--tls", "k", "true"])[0], 69,
                 "TLS without the authority")
        check_eq(run_dflock(None, ["k", "true"], env={"DFLOCK_SERVERS": f"localhost:{tls.port}",
                                                     "DFLOCK_TLS_CA_FILE": ca.cert})[0], 0,
                 "TLS by the environment")


@test("-v says what happens in words, --json as lines of JSON", rules=["R29"])
def messages():
    with lenient_server() as server:
        code, _, err = run_dflock(server, ["-v", "k", "true"])
        check_eq(code, 0, "the exit code")
        # "release: …" if the server was not heard for 2 s.
        for line, text in zip(err.splitlines(), ["asking 127.0.0.1:", "acquired, fence ", "started process ",
                                                 "the command ended with 0", "release"]):
            check(line.startswith("dflock: k: " + text), f"'{line}' instead of '{text}…'")
        code, _, err = run_dflock(server, ["--json", "k", "true"])
        events = [json.loads(x) for x in err.splitlines()]
        names = [x["event"] for x in events]
        if names[4:] == ["release_failed"] and events[4]["time"] - events[3]["time"] >= 2:
            names[4] = "released"
        check_eq(names, ["waiting", "acquired", "started", "ended", "released"], "the events")
        check_eq([x["key"] for x in events], ["k"] * 5, "the keys")
        check(all(isinstance(x["time"], float) and isinstance(x["text"], str) for x in events), err)
        check_eq((events[1]["lease"], events[3]["exit"]), (33, 0), "lease and exit code")
        code, _, err = run_dflock(server, ["--json", "k", "/nowhere/command"])
        error = [json.loads(x) for x in err.splitlines()][3]
        check_eq((error["event"], error["exit"]), ("error", 127), "an error")
        code, _, err = run_dflock(server, ["--json", b"\xff\n"[:1], "true"])
        check_eq((code, json.loads(err.splitlines()[0])["key"]), (0, "\\xff"), "a key that is not UTF-8")


@test("--help and --version are for stdout; the manual has the same options", rules=["R3"])
def help_text():
    code, out, err = run_dflock(None, ["--help"])
    check_eq((code, err), (0, ""), "--help")
    said = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", out, re.M))
    check({"nonblock", "ttl", "servers", "tls"} <= said, f"--help has not the form that it had: {said}")
    with open(os.path.join(os.environ["top_srcdir"], "docs/man/dflock.1"), encoding="utf-8") as f:
        items = [x for x in f if x.startswith(".It Fl")]
    check_eq({n for x in items for n in re.findall(r"[ ,]-([a-z][a-z-]+)", x)}, said,
             "the options in dflock(1)")
    code, out, err = run_dflock(None, ["--version"])
    check_eq((code, err), (0, ""), "--version")
    check(re.fullmatch(r"dflock \d+\.\d+\.\d+\n", out), f"--version: {out}")


if __name__ == "__main__":
    main(jobs=4)
