"""protocol_errors_test.py - docs/rules.md, "Errors in a request", "Fields and integers"."""

import random

from harness import (Client, Server, check, check_eq, diag, elapsed, eventually, in_threads, main,
                     test, token_of)

TOKEN = "0" * 32
MAX = 9223372036

# command, key, arg, code in the log
BAD = {
    "P54": [("no such", "key", "0", 3), ("", "", "", 3), ("L", "a b", "x", 3),
            ("locklock", "key", "0", 3), ("x" * 256, "", "", 3)],
    "P55": [(cmd, "key", arg.replace("@", bad), 4) for cmd, arg, bads in [
        ("l", "@", ["x", "0x10", "1_0", "1.0", "1.", ".1", "1e3"]),
        ("l", "0 @", ["", "x"][1:] + ["--5", "++5", "+-5", "+", "-", "5s"]),
        ("sl", "@ 3", ["²", "٣", "\x00", "0\x00"]),
        ("sl", "0 @", ["x", "9223372036854775808", "-9223372036854775809", "9" * 60]),
        ("sl", "0 3 @", ["x"]), ("e", "@", ["x"]), ("se", "@", ["x"]), ("se", "3 @", ["x"]),
        ("w", "@", ["x", "18446744073709551616"]), ("sw", "@", ["0b1"]),
        ("n", TOKEN + " @", ["x"]), ("sn", TOKEN + " @", ["0x5"]),
        ("show", "@", ["x", "Lock", "lockx", "sems"]), ("evict", "@", ["x"]),
        ("evict", "lock @", ["x", "-1"])] for bad in bads],
    "P56": [(cmd, key, arg, 5) for cmd, arg in [
        ("l", "0"), ("sl", "0 3"), ("r", TOKEN), ("sr", TOKEN), ("n", TOKEN), ("sn", TOKEN),
        ("e", ""), ("se", "3"), ("w", "0"), ("sw", "0"), ("list", ""), ("show", "lock"),
        ("evict", "lock")] for key in ["", "a b", " a", "a ", "a\tb", "a\rb", " ", "\r"]],
    "P57": [(cmd, "key", arg, 6) for cmd, arg in [
        ("l", "-1"), ("l", f"{MAX + 1}"), ("l", "9223372036854775807"),
        ("l", "-9223372036854775808"), ("sl", "-1 3"), ("sl", f"{MAX + 1} 3"), ("w", "-1"),
        ("w", f"{MAX + 1}"), ("sw", "-1"), ("sw", f"+{MAX + 1}")]],
    "P58": [(cmd, "key", arg, 7) for cmd in ["r", "sr", "n", "sn", "auth"]
            for arg in ["", " ", "\t\v\f \r"]],
    "P59": [(cmd, "key", arg, 8) for cmd, args in [
        ("l", ["", " ", "0 1 2", "0 1 2 3 4"]), ("sl", ["", "0", "0 3 5 7"]), ("e", ["5 5"]),
        ("se", ["", "3 5 7"]), ("w", ["", "0 0"]), ("sw", ["", "0 5 5"]),
        ("n", [TOKEN + " 5 5"]), ("sn", [TOKEN + " 5 5"]), ("show", ["", "lock lock"]),
        ("list", ["1-1 2-2"]), ("evict", ["", "lock 1 1"])] for arg in args],
    "P60": [(cmd, "key", arg.replace("@", bad), 9) for cmd, arg in [
        ("l", "0 @"), ("sl", "0 3 @"), ("e", "@"), ("se", "3 @"), ("n", TOKEN + " @"),
        ("sn", TOKEN + " @")] for bad in ["0", "-0", "-1", f"{MAX + 1}", "9223372036854775807"]],
    "P61": [(cmd, "key", arg.replace("@", bad), 13) for cmd, arg in [
        ("sl", "0 @"), ("se", "@")] for bad in ["0", "-1", "1048577", "9223372036854775807"]],
}

# The one that is found first gives the code.
ORDER = [
    ("no such", "", "", 3), ("l", "", "", 5), ("l", "a b", "x y z", 5), ("n", "", "", 5),
    ("l", "key", "x y z", 8), ("sl", "key", "-1", 8), ("l", "key", "x 0", 4),
    ("l", "key", "-1 x", 6),
    ("l", "key", "-1 0", 6), ("sl", "key", "0 0 0", 13), ("sl", "key", "0 x 0", 4),
    ("sl", "key", "0 0 x", 13), ("sl", "key", "-1 0 0", 6), ("se", "key", "0 0", 13),
    ("se", "key", "3 0", 9), ("w", "key", "-1 x", 8),
]
SILENT = [("ping", "a b", "x y z"), ("stats", "", "-1"), ("stats", " ", "")]


def codes(requests):
    """Each is `error`, leaves the connection open, and is in the log with its code."""
    def some(part):
        # A line of the log may come 20 times from a worker, then it is held back.
        with Server(["--debug"], workers=1) as server, Client(server) as c:
            for cmd, key, arg, code in part:
                since = server.mark()
                check_eq(c.req(cmd, key, arg), "error", f"{(cmd, key, arg)}")
                line = server.wait_log("debug bad request", since=since)
                check(f" code={code} " in line.string,
                      f"{(cmd, key, arg)}, code {code}: {line.string}")
                check_eq(c.req("ping"), "ok", "still open")

    in_threads(some, [requests[i:i + 18] for i in range(0, len(requests), 18)])


@test("code 3: unknown command", rules=["P53", "P54"])
def code_3():
    codes(BAD["P54"])


@test("code 4: a field is not an integer", rules=["P53", "P55", "P24"])
def code_4():
    codes(BAD["P55"])


@test("code 5: key empty or with white space", rules=["P53", "P56", "P29"])
def code_5():
    codes(BAD["P56"])


@test("code 6: timeout out of range", rules=["P53", "P57", "P25"])
def code_6():
    codes(BAD["P57"])


@test("code 7: empty token", rules=["P53", "P58"])
def code_7():
    codes(BAD["P58"])


@test("code 8: wrong number of fields", rules=["P53", "P59", "P38"])
def code_8():
    codes(BAD["P59"])


@test("code 9: lease out of range", rules=["P53", "P60", "P26"])
def code_9():
    codes(BAD["P60"])


@test("code 13: limit out of range", rules=["P53", "P61", "P27"])
def code_13():
    codes(BAD["P61"])


@test("the order of checks", rules=["P65"])
def order():
    codes(ORDER)
    with Server() as server, Client(server) as c:
        for request in SILENT:  # answered before key and fields are looked at
            check_eq(c.req(*request)[:2], "ok", f"{request}")
        c.send(b"no such\n\n")  # not before three lines are there
        c.expect_silence()
        c.send(b"\n")
        c.expect("error")


@test("what is within the ranges", rules=["P24", "P25", "P26", "P27", "P29", "P23"])
def ranges():
    with Server(["--max-locks", "500"]) as server, Client(server) as c:
        for i, arg in enumerate(["0", "+0", "-0", "000", "0" * 200, str(MAX), f"+000{MAX}", "007",
                                 "0 1", "0 +1", f"0 {MAX}", "0 007", "\v0\f1\v", "0\t\t \r1\r\r"]):
            token_of(c.req("l", f"l{i}", arg))
        for i, arg in enumerate(["0 1", "0 1048576", "0 +01", f"{MAX} 1048576 {MAX}",
                                 "\t0 \v 7\f\f9"]):
            token_of(c.req("sl", f"sl{i}", arg))
        for i, arg in enumerate(["", " ", "\r", "\t\v\f", "1", f"+{MAX}"]):
            took = elapsed()
            token_of(c.req("e", f"e{i}", arg), "acquired")
            reply = c.req("w", f"e{i}", f" +00{i} ")
            token_of(c.req("se", f"se{i}", "1048576 " + arg), "acquired")
            for r in (reply, c.req("sw", f"se{i}", str(MAX))):
                if arg != "1" or took() < 1 or r != "error_lease_expired":
                    token_of(r)
        for key in ["k", "k" * 256, "\0", "a\vb", "a\fb", "*", "key=\"'\\", "\u00a0", "\u2028"]:
            token_of(c.req("l", key, "0"))


@test("an over-long line, the deadline, and a peer that is gone",
      rules=["P62", "P63", "P64", "P53"])
def closing_codes():
    with Server(["--debug", "--read-timeout", "1"], workers=1) as server:
        late = server.client()
        late.send("ping\n")
        late.expect("error")
        late.expect_close(how="fin")
        server.wait_log("connection is closed.* code=10 ")
    with Server(["--debug"], workers=1) as server:
        long, gone = server.client(), server.client()
        long.send("x" * 257 + "\n")
        long.expect("error")
        long.expect_close(how="fin")
        server.wait_log("connection is closed.* code=12 ")
        gone.send("ping\n\n")
        gone.half_close()
        gone.expect_close(how="fin")  # nothing written
        reset = server.client()
        check_eq(reset.req("ping"), "ok", "ping")
        since = server.mark()
        reset.reset()
        server.wait_log("connection ends.*why=reset", since=since)


@test("malformed requests change nothing", rules=["P53"])
def nothing_changed():
    rng = random.Random(7)
    every = [r for part in BAD.values() for r in part]
    rng.shuffle(every)
    with Server() as server:
        a, b = server.client(), server.client()
        token = token_of(a.req("l", "key", "0 300"))
        waiting = b.req("e", "key")
        for cmd, key, arg, _ in every:
            b.ask(cmd, key, arg)
        check_eq(b.lines(len(every)), ["error"] * len(every), "the replies")
        check_eq([waiting, a.req("l", "key", "0")], ["queued", "timeout"], "the lock")
        diag(f"{len(every)} malformed requests")
        check_eq(a.req("r", "key", token), "ok", "the release")
        token_of(b.req("w", "key", "0"))
        eventually(lambda: len(server.worker_pids()) == 2)


if __name__ == "__main__":
    main()
