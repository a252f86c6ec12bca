#!/usr/bin/env python3
"""crash_damage_test.py - memory that was written over: what a crash makes everybody look at is found,
mended where nothing is lost, given up where a holder might be; the other shards serve on."""

import os
import re
import signal
import subprocess
import time

from harness import (Server, check, check_eq, elapsed, eventually, json_of, main, temp_dir, test,
                     token_of)

KEYS = 300
EXPECTED = ["worker died", "worker hangs", "was damaged", "were damaged"]


def region_of(server):
    fd = server.wait_log(r" region_fd=(\d+)")[1]
    return f"/proc/{server.pid}/fd/{fd}"


def scribble(server, thing, key):
    """Writes over it; returns the shard."""
    tool = os.path.join(os.environ["top_builddir"], "tests/crash/scribble")
    done = subprocess.run([tool, region_of(server), thing, key], capture_output=True, text=True)
    check_eq((done.returncode, done.stderr), (0, ""), "scribble")
    return int(done.stdout)


def fsck(path):
    done = subprocess.run([os.environ["DFLOCKD"], "--fsck", path], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr


def saved(server):
    path = os.path.join(temp_dir(), "saved")
    subprocess.run(["cp", "--sparse=always", region_of(server), path], check=True, timeout=60)
    return path


class Victim:
    """A server in which KEYS locks are held and one is waited for; .crash() makes it look."""

    def __init__(self):
        self.server = Server(expect_log=EXPECTED).start()
        self.holders = [self.server.client() for _ in range(4)]
        self.waiter = self.server.client()
        self.tokens = {}
        for i in range(KEYS):
            key = f"key-{i}"
            self.tokens[key] = token_of(self.holders[i % 4].req("l", key, "0 600"))
        self.waiter.ask("l", "key-0", "60")
        eventually(lambda: any(x["key"] == "key-0" and x["waiters"] == 1 for x in
                               json_of(self.holders[0].req("stats"))["locks"]), 20, "one waits")

    def crash(self):
        pid = self.server.worker_pids()[0]
        since = self.server.mark()
        os.kill(pid, signal.SIGSEGV)
        self.server.wait_log("took over", 20, since)

    def settle(self, lost):
        """Releases all keys; those for which lost(key) is true answer error and nothing else."""
        n = {"ok": 0, "error": 0}
        for i, (key, token) in enumerate(self.tokens.items()):
            client = self.holders[i % 4]
            reply = client.req("r", key, token)
            n[reply] += 1
            check_eq(reply, "error" if lost(key) else "ok", f"the release of {key}")
        if not lost("key-0"):
            token = token_of(self.waiter.line())
            check_eq(self.waiter.req("r", "key-0", token), "ok", "the waiter's release")
        return n

    def end(self):
        self.server.stop()
        return self.server.wait_log("stopped .*repairs=.*")[0]


def is_found(server, since):
    """The other worker may have found it, and be slower to say so than the heir."""
    waiting = elapsed()
    while not server.logged("the lock table was damaged", since) and waiting() < 5:
        time.sleep(0.01)
    return server.logged("the lock table was damaged", since)


def damaged(thing, result, found):
    """The damage is rebuilt (nothing lost) or its shard is given up; fsck has said so before."""
    v = Victim()
    blocked = v.server.client()
    blocked.ask("l", "key-7", "600")
    eventually(lambda: any(x["key"] == "key-7" and x["waiters"] == 1
                           for x in json_of(v.holders[0].req("stats"))["locks"]), 20, "it waits")
    looking = True
    while looking:
        since = v.server.mark()
        shard = scribble(v.server, thing, "key-7")
        code, out, err = fsck(saved(v.server))
        v.crash()
        # A worker that was not run for a second extends its leases: what it writes over is not found.
        looking = v.server.logged("did not run for a while", since) and not is_found(v.server, since)
    check_eq((code, err), (1, ""), "fsck")
    check(re.search(rf"^shard {shard}: invariant I\d+ ", out, re.M), f"fsck finds it: {out}")
    check(re.search(rf"^shard {shard}: .*{found}\b", out, re.M), f"fsck says what: {out}")
    beyond = result != "rebuilt"
    check(re.search(rf"^shard {shard}: " + ("beyond repair" if beyond else "can be rebuilt"), out,
                    re.M), f"and says what can be done: {out}")
    check(re.search(rf"^64 shards, 1 broken, {int(beyond)} beyond", out, re.M), f"in sum: {out}")
    line = v.server.wait_log(r"the lock table was damaged.*", 20)[0]
    check(f"shard={shard} " in line and ("beyond repair" in line) == beyond, line)
    check_eq(re.search(r"invariant=(\d+)", line)[1], found[1:], line)
    dead = set()
    if beyond:
        blocked.expect("error", "a request that waits there")
        code, out, _ = fsck(saved(v.server))
        check(f"shard {shard}: is quarantined" in out and code == 1, f"fsck afterwards: {out}")
        # Its keys answer error, which is how they are told from the others.
        for key in v.tokens:
            if v.holders[0].req("e", f"{key}", "1") == "error":
                dead.add(key)
        check("key-7" in dead and len(dead) < KEYS / 8, f"keys of one shard: {sorted(dead)}")
        for i in range(1, 4):
            v.holders[i].close()
        v.server.stop()
    else:
        n = v.settle(lambda key: False)
        check_eq(n, {"ok": KEYS, "error": 0}, "releases")
        check_eq(v.waiter.req("r", "key-7", token_of(blocked.line())), "ok", "who waited has it")
        for k in range(64):
            token_of(v.waiter.req("l", f"new-{k}", "0"))
    line = v.end()
    check_eq(re.search(r"rebuilt=(\d+) quarantined=(\d+)", line).groups(),
             ("0", "1") if beyond else ("1", "0"), line)


ROWS = [
    ("count", "rebuilt", "I8", "a count of holders"),
    ("queue", "rebuilt", "I11", "a queue"),
    ("bucket", "rebuilt", "I6", "a chain of keys"),
    ("wheel", "rebuilt", "I11", "the timer wheel"),
    ("freelist", "rebuilt", "I6", "a list of free records"),
    ("journal", "rebuilt", "I9", "a journal"),
    ("holder", "beyond", "I4", "a holder's state"),
    ("wiped", "beyond", "I4", "a holder, wiped"),
    ("kind", "beyond", "I4", "the sort of a key"),
    ("key", "beyond", "I6", "a key"),
]


def row_test(thing, result, found):
    def body():
        damaged(thing, result, found)

    return body


for thing, result, found, what in ROWS:
    function = row_test(thing, result, found)
    function.__name__ = thing
    end = "nothing is lost" if result == "rebuilt" else "its shard is given up, the others serve"
    test(f"{what} was written over: {end}", deadline=120)(function)


def mended(thing, log):
    v = Victim()
    scribble(v.server, thing, "key-7")
    v.crash()
    v.server.wait_log(log, 20)
    check_eq(v.settle(lambda key: False), {"ok": KEYS, "error": 0}, "releases")
    v.end()


@test("a mutex's kind was written over: mended", deadline=120)
def mutex_kind():
    mended("mutex-kind", "mutexes were damaged and have been mended.* mutexes=1$")


@test("a mutex's owner was written over: mended", deadline=120)
def mutex_owner():
    mended("mutex-owner", "mutexes were damaged and have been mended.* mutexes=1$")


@test("the next fence was written over: it goes on above all that were issued", deadline=120)
def fence():
    v = Victim()
    last = max(int(x[:16], 16) for x in v.tokens.values())
    scribble(v.server, "fence", "key-7")
    v.crash()
    v.server.wait_log("the next fence was damaged and has been raised", 20)
    v.settle(lambda key: False)
    token = token_of(v.waiter.req("l", "after", "0"))
    check(int(token[:16], 16) > last, "fences go on")
    v.end()


@test("a connection's record was written over: that one ends, its slots are kept", deadline=120)
def connection():
    v = Victim()
    scribble(v.server, "conn", "key-7")  # holder 3's
    for _ in range(2):
        v.crash()
    v.holders[3].expect_close(timeout=10)
    v.server.wait_log("a connection's record was damaged|stream position is lost", 20)
    for i, (key, token) in enumerate(v.tokens.items()):
        client = v.holders[i % 4] if i % 4 != 3 else v.holders[0]
        check_eq(client.req("r", key, token), "ok", f"the release of {key}")
    v.server.expect_log.append(re.compile("stream position is lost"))
    v.end()


@test("fsck: a table that is whole, with a transaction open, of a busy server", deadline=120)
def whole():
    v = Victim()
    code, out, err = fsck(saved(v.server))
    check_eq((code, err), (0, ""), f"fsck, which said {out}")
    check(re.fullmatch(rf"64 shards, 0 broken, 0 beyond repair; {KEYS} keys, {KEYS} holders, "
                       r"1 waiters, next fence \d+\n", out), out)
    v.settle(lambda key: False)
    v.end()


@test("fsck: what is no table, or not ours, is refused in words", deadline=120)
def refused():
    v = Victim()
    path = saved(v.server)
    v.server.destroy()
    with open(path, "r+b") as f:
        head = f.read(4096)

        def with_bytes(at, new, says):
            f.seek(at)
            f.write(new)
            f.flush()
            code, out, err = fsck(path)
            check_eq((code, out), (1, ""), "fsck")
            check(says in err and path in err, f"{says!r} expected: {err}")
            f.seek(0)
            f.write(head)
            f.flush()

        with_bytes(0, b"x", "this is no lock table")
        with_bytes(8, b"\x63", "another version or build")
        with_bytes(16, b"\x63\x63", "another version or build")
        with_bytes(40, b"\x01", "contradicts itself")
        f.truncate(len(head) + 4096)
        with_bytes(0, head[:1], "cut off")
    empty = os.path.join(temp_dir(), "empty")
    open(empty, "w").close()
    for path, says in ((empty, "no lock table"), (empty + "-not", "No such file"),
                       (temp_dir(), "Is a directory")):
        code, out, err = fsck(path)
        check(code == 1 and out == "" and says in err and path in err, f"{says!r}: {err}")
    check_eq(fsck("")[0], 78, "no name")


if __name__ == "__main__":
    main()
