#!/usr/bin/env python3
"""fences_test.py - --fence-state-file and --cold-start-delay: fences never repeat, whatever ends the
server and wherever its clocks go; nothing is granted while somebody may still hold it; a disk that
fails stops promises and nothing else."""

import os
import random
import resource
import signal
import struct
import subprocess
import tempfile

from harness import (BRIEF, Client, Failure, Server, check, check_eq, elapsed, eventually, fence_of, in_threads,
                     main, temp_dir, test, token_of)
from points import (AFTER, BEFORE, FAIL, HANG, WRITER, Board, CrashServer, errors)

COPY = 4096
CHECKSUM_AT = COPY - 8
FAILS = ["the fence state file fails", "the fence writer died", "disk does not answer"]
SMALL = ["--max-connections", "50", "--max-locks", "100"]


def siphash(data):
    """SipHash-2-4 with a key of zeros: the file's checksum."""
    mask = (1 << 64) - 1
    v = [0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573]

    def rot(x, n):
        return (x << n | x >> (64 - n)) & mask

    def rounds(n):
        for _ in range(n):
            v[0] = v[0] + v[1] & mask
            v[1] = rot(v[1], 13) ^ v[0]
            v[0] = rot(v[0], 32)
            v[2] = v[2] + v[3] & mask
            v[3] = rot(v[3], 16) ^ v[2]
            v[0] = v[0] + v[3] & mask
            v[3] = rot(v[3], 21) ^ v[0]
            v[2] = v[2] + v[1] & mask
            v[1] = rot(v[1], 17) ^ v[2]
            v[2] = rot(v[2], 32)

    data += bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", data):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def rewrite(path, at, data):
    """Both copies of the file with these bytes there, and their checksums made right."""
    with open(path, "r+b") as f:
        for base in (0, COPY):
            f.seek(base)
            copy = bytearray(f.read(COPY))
            check_eq(struct.unpack_from("<Q", copy, CHECKSUM_AT)[0],
                     siphash(bytes(copy[:CHECKSUM_AT])), "the checksum in the file")
            copy[at:at + len(data)] = data
            struct.pack_into("<Q", copy, CHECKSUM_AT, siphash(bytes(copy[:CHECKSUM_AT])))
            f.seek(base)
            f.write(copy)


def state_file():
    return os.path.join(temp_dir(), "fences")


def args(path, *more):
    return ["--fence-state-file", path, *SMALL, *more]


def crash(server):
    """Everything of the server at once."""
    server.expect_exit = -signal.SIGKILL
    os.killpg(server.pid, signal.SIGKILL)
    server.exited()


def refused(arguments, *texts):
    p = subprocess.run([os.environ["DFLOCKD"], "--port", "0", "--run-dir",
                        os.path.join(temp_dir(), "run"), *arguments], timeout=30,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    check_eq(p.returncode, 1, f"the exit status ({p.stderr})")
    for text in texts:
        check(text in p.stderr, f"{text!r} is said, not {p.stderr!r}")


def take(client, key="key", arg="0"):
    return fence_of(token_of(client.req("l", key, arg)))


@test("1,000 kills and restarts, the clock stepping back: fences strictly increase", deadline=1800,
      rules=["S65", "F1", "P88"])
def thousand_kills():
    lines, rounds = (4, 25) if BRIEF else (10, 100)

    def line(n):
        chance, board, path, last = random.Random(n), Board(), state_file(), 0
        for i in range(rounds):
            board.clocks(boottime=chance.randrange(1000), realtime=-3600 * i)
            server = CrashServer(args(path, "--cold-start-delay", "0", "--workers", "1"),
                                 board=board).start()
            fence = take(server.client())
            check(fence > last, f"fence {fence} after {last}, at start {i}")
            last = fence
            crash(server)
        return rounds

    check_eq(sum(in_threads(line, range(lines))), lines * rounds, "restarts")


@test("a file that lost a part serves on with fences that grow, or is refused", rules=["F3"])
def cut_off():
    path = state_file()
    with Server(args(path)) as server:
        last = take(server.client())
    with open(path, "rb") as f:
        whole = f.read()
    check_eq(len(whole), 2 * COPY, "bytes of the file")
    for n in (0, 1, 8, COPY - 1, COPY, COPY + 1, COPY + 100, 2 * COPY - 1):
        other = state_file()
        with open(other, "wb") as f:
            f.write(whole[:n])
        if n < COPY:
            refused(args(other), "is damaged", "restore it", "remove it")
            continue
        with Server(args(other), expect_log=["one of the two copies"]) as server:
            check_eq(len(server.logged("one of the two copies in the fence state file")), 1, "the warning")
            check(take(server.client()) > last, "fences grow")
        check_eq(os.path.getsize(other), 2 * COPY, "bytes of the file, mended")


@test("the clock is asked only when there is no file", rules=["F1"])
def clock_once():
    path, board = state_file(), Board()
    board.clocks(realtime=-50 * 365 * 86400)
    with CrashServer(args(path), board=board, expect_log=["is new"]) as server:
        first = take(server.client())
        check(server.logged("the fence state file is new, fences start at the clock"), "the warning")
    board.clocks()
    with CrashServer(args(path), board=board) as server:
        again = take(server.client())
    check(first < again < first + (1 << 30), f"{again} follows {first}: the clock says 50 years more")


@test("two servers on one file: the second one refuses, and says who has it", rules=["F2"])
def one_owner():
    path = state_file()
    with CrashServer(args(path)) as server:
        refused(args(path), "is in use by another server", f"(process {server.board.writer} has it)")
        take(server.client())


@test("a file that cannot be used refuses the start, and says what to do", rules=["F2"])
def refusals():
    where = temp_dir()
    refused(args(os.path.join(where, "none", "fences")), "fences' cannot be opened for writing: its "
            "directory does not exist: make it, for the user that dflockd runs as")
    refused(args(where), "cannot be opened for writing: Is a directory")
    refused(args("/sys/fences"), "'/sys/fences' cannot be opened for writing: ")
    fifo = os.path.join(where, "fifo")
    os.mkfifo(fifo)
    refused(args(fifo), "is no regular file")
    path = os.path.join(where, "fences")
    with Server(args(path)):
        pass
    rewrite(path, 8, struct.pack("<Q", 2))
    refused(args(path), "was written by a later version of dflockd: start that one")


@test("without a state file fences come from the clock, grants begin at once, and a warning says so",
      rules=["S56", "F7"])
def no_file():
    for _ in range(2):
        server = Server().start()
        check(server.logged("warn fences are seeded from the clock"), "the warning")
        take(server.client(), arg="0 1000")
        crash(server)


@test("a file in memory is warned of", rules=["F2"])
def in_memory():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as where:
        with Server(args(os.path.join(where, "fences"))) as server:
            server.wait_log("warn the fence state file is in memory and does not survive a reboot")
            take(server.client())


def waits(client, text):
    check_eq(client.req("l", "key", "0"), "timeout", text)


@test("after a crash of everything nothing is granted before the leases that were running have ended",
      deadline=180, rules=["F4"])
def cold_start():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    take(server.client(), arg="0 5")
    crash(server)
    with CrashServer(args(path), board=board) as server:
        check(server.logged("no locks yet: those that the server gave out before"), "the warning")
        a, b, c = server.client(), server.client(), server.client()
        waits(a, "a try on a free lock")
        check_eq(a.req("e", "two", ""), "queued", "an enqueue")
        check_eq(a.req("r", "key", "0" * 32), "error", "the release of nothing")
        check_eq(a.req("ping"), "ok", "the ping")
        b.ask("l", "key", "600")
        b.expect_silence()
        c.ask("l", "key", "600")
        c.expect_silence()
        board.clocks(boottime=4)
        waits(a, "a try before the end of the lease")
        b.expect_silence()
        board.clocks(boottime=5 + 60)  # leases are reserved ahead: 45 s at most
        first = fence_of(token_of(b.line()))
        check_eq(a.req("w", "two", "10")[:3], "ok ", "the wait for what was enqueued")
        c.expect_silence()
        b.close()
        check(fence_of(token_of(c.line())) > first, "the queue goes on in its order")
        server.wait_log("locks are given out from now on")


@test("--cold-start-delay bounds the wait; 0 is none", deadline=180, rules=["F4", "F8"])
def cold_start_delay():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    take(server.client(), arg="0 100000")
    crash(server)
    server = CrashServer(args(path, "--cold-start-delay", "20"), board=board).start()
    wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
    check(15000 < wait <= 20000, f"{wait} ms: 20 s at most")
    a = server.client()
    waits(a, "a try at once")
    board.clocks(boottime=21)
    eventually(lambda: a.req("l", "key", "1").startswith("ok "), 20, "it is granted after 20 s")
    crash(server)
    server = CrashServer(args(path, "--cold-start-delay", "0"), board=board).start()
    take(server.client())
    check_eq(server.logged("no locks yet"), [], "no wait")
    crash(server)


@test("a cold start that is killed while it waits waits again", deadline=180, rules=["F4"])
def cold_again():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    take(server.client(), arg="0 60")
    for _ in range(3):
        crash(server)
        server = CrashServer(args(path), board=board).start()
        waits(server.client(), "a try")
    crash(server)


@test("after an end at which no lease was running there is no wait", rules=["F5"])
def clean_end():
    path = state_file()
    for _ in range(3):
        with Server(args(path)) as server:
            check_eq(server.logged("no locks yet"), [], "no wait")
            c = server.client()
            token = token_of(c.req("l", "key", "0 600"))
            check_eq(c.req("r", "key", token), "ok", "the release")
            take(server.client(), "other")  # it is given back by the disconnect


@test("after an end at which leases were running the wait is as long as the last of them",
      deadline=180, rules=["F5"])
def stopped_with_leases():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    holder = server.client()
    take(holder, "one", "0 50")
    take(holder, "two", "0 20")
    server.kill(signal.SIGTERM)
    server.wait_log("draining")
    server.kill(signal.SIGTERM)
    check_eq(server.exited(20), 0, "the exit status")
    server = CrashServer(args(path), board=board).start()
    wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
    check(30000 < wait <= 50000, f"{wait} ms of the 50 s are left")
    waits(server.client(), "a try at once")
    crash(server)
    board.clocks(boottime=51)
    with CrashServer(args(path), board=board) as server:
        take(server.client())


@test("after a reboot what is left of the leases counts by the wall clock", deadline=180, rules=["F4"])
def reboot():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    take(server.client(), arg="0 600")
    crash(server)
    rewrite(path, 56, b"another boot".ljust(40, b"\0"))
    board.clocks(realtime=100)
    server = CrashServer(args(path, "--cold-start-delay", "10000"), board=board).start()
    wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
    check(450000 < wait <= 545000, f"{wait} ms are left of 600 s and what was reserved ahead, after 100")
    waits(server.client(), "a try")
    crash(server)
    rewrite(path, 56, b"another boot".ljust(40, b"\0"))
    board.clocks(realtime=700)
    with CrashServer(args(path), board=board) as server:
        take(server.client())


@test("leases that go on being promised are on disk before", deadline=180, rules=["F4"])
def renewed():
    path, board = state_file(), Board()
    server = CrashServer(args(path), board=board).start()
    c = server.client()
    token = token_of(c.req("l", "key", "0 5"))
    check_eq(c.req("n", "key", f"{token} 5000"), "ok 5000", "a renewal")
    crash(server)
    board.clocks(boottime=4900)
    server = CrashServer(args(path, "--cold-start-delay", "100000"), board=board).start()
    waits(server.client(), "a try 100 s before the renewed lease ends")
    crash(server)
    # And one that was waited for: it restarts when its client hears of it.
    board.clocks(boottime=10000)
    server = CrashServer(args(path), board=board).start()
    a, b = server.client(), server.client()
    token = token_of(a.req("l", "key", "0 5"))
    b.ask("l", "key", "60 7000")
    b.expect_silence()
    check_eq(a.req("r", "key", token), "ok", "the release")
    token_of(b.line())
    crash(server)
    board.clocks(boottime=16900)
    server = CrashServer(args(path, "--cold-start-delay", "100000"), board=board).start()
    waits(server.client(), "a try 100 s before the granted lease ends")
    crash(server)


def eventually_granted(client, key, arg):
    return eventually(lambda: (lambda x: x if x.startswith("ok ") else None)(
        client.req("l", key, arg)), 20, f"{key} is granted again")


def refuses_and_recovers(server, begin, end):
    """While the file fails: no promise that is not on disk already; all else goes on."""
    a, b = server.client(), server.client()
    token = token_of(a.req("l", "held", "0 30"))
    b.ask("l", "held", "60 10")  # its lease is on disk already
    begin()
    check_eq(a.req("l", "long", "0 5000"), "error", "a lock that must be written down")
    check_eq(a.req("l", "long", "30 5000"), "error", "one that would wait for it")
    check_eq(a.req("e", "long", "5000"), "error", "an enqueue")
    check_eq(a.req("n", "held", f"{token} 5000"), "error", "a renewal that must be written down")
    check_eq(a.req("n", "held", f"{token} 20"), "ok 20", "one that need not")
    check_eq(a.req("r", "held", token), "ok", "the release")
    token_of(b.line())
    server.wait_log("the fence state file fails, new locks and longer leases are refused")
    end()
    eventually_granted(a, "long", "0 5000")
    server.wait_log("the fence state file works again")


@test("a disk that fails (EIO, ENOSPC): promises are refused, releases go on, and all when it works again",
      deadline=240, rules=["F6"])
def failing_disk():
    def run(case):
        name, error = case
        with CrashServer(args(state_file()), expect_log=FAILS) as server:
            board = server.board
            refuses_and_recovers(server,
                                 lambda: board.arm(name, action=FAIL, error=errors(error), role=WRITER,
                                                   again=1000000),
                                 board.disarm)

    in_threads(run, [("FENCE_WRITE", "ENOSPC"), ("FENCE_WRITE", "EIO"), ("FENCE_SYNC", "EIO")])


@test("a file that may not be written any more (a limit on files): as a disk that fails",
      deadline=180, rules=["F6"])
def limited():
    with CrashServer(args(state_file()), expect_log=FAILS) as server:
        pid = server.board.writer
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        refuses_and_recovers(server,
                             lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard)),
                             lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard)))


@test("a file that was removed is made anew, and fences go on", deadline=180, rules=["F6"])
def removed():
    path = state_file()
    server = Server(args(path), expect_log=FAILS).start()
    c = server.client()
    first = take(c)
    os.unlink(path)
    check_eq(c.req("l", "long", "0 5000"), "error", "a lock that must be written down")
    server.wait_log("what=\"has been removed or replaced\"")
    last = fence_of(token_of(eventually_granted(c, "long", "0 5000")))
    check(last > first, "fences grow")
    crash(server)
    with Server(args(path, "--cold-start-delay", "0")) as server:
        check(take(server.client()) > last, "fences grow over the restart")


def hangs_at(place, side):
    """False when it took so long here that the disk counts as failed: then nothing can be said."""
    with CrashServer(args(state_file()), expect_log=FAILS) as server:
        board = server.board
        a, b, c, d, e = [server.client() for _ in range(5)]
        token = token_of(a.req("l", "held", "0 30"))
        b.ask("l", "held", "60 30")
        took = elapsed()
        board.arm(place, side, action=HANG, role=WRITER)
        c.ask("l", "try", "0 5000")
        try:
            eventually(lambda: board.fired > 0, 20, "the writer hangs")
            d.ask("l", "wait", "60 5000")
            e.ask("l", "short", "1 5000")
            check_eq(a.req("n", "held", f"{token} 20"), "ok 20", "a renewal")
            check_eq(a.req("l", "quick", "0 10")[:3], "ok ", "a lock that is on disk already")
            e.expect("timeout", "who waits no longer than a second")
            c.expect_silence(0.1)
            d.expect_silence(0.1)
            os.kill(board.writer, signal.SIGCONT)
            for x in (c, d):
                token_of(x.line())
            check_eq(a.req("r", "held", token), "ok", "the release")
            token_of(b.line())
            check_eq(server.logged("refused"), [], "nothing was refused")
        except (Failure, ProcessLookupError):
            if took() < 8:
                raise
            return False
        return True


@test("while the disk hangs grants that need it wait, all else goes on; afterwards they are made",
      deadline=180, rules=["F6"])
def hanging_disk():
    for place, side in (("FENCE_WRITE", BEFORE), ("FENCE_SYNC", BEFORE), ("FENCE_SYNC", AFTER)):
        while not hangs_at(place, side):
            pass


@test("a disk that hangs for long is one that fails; the writer is replaced", deadline=180, rules=["F6"])
def hanging_long():
    with CrashServer(args(state_file()), expect_log=FAILS) as server:
        board = server.board
        a, b = server.client(), server.client()
        board.arm("FENCE_SYNC", action=HANG, role=WRITER)
        a.ask("l", "key", "0 5000")
        check_eq(a.line(timeout=40), "error", "a lock that must be written down")
        server.wait_log("disk does not answer, new locks and longer leases are refused", 20)
        eventually_granted(b, "key", "0 5000")


@test("without a master workers go on with what is on disk; the next one's writer goes on from there",
      deadline=180, rules=["F3", "F1"])
def master_dies():
    with Server(args(state_file()), expect_log=["the master is gone"]) as server:
        a, b, c = [server.client(timeout=30) for _ in range(3)]
        first = take(a, "held", "0 600")
        for x in (b, c):  # or it is not accepted yet
            check_eq(x.req("ping"), "ok", "a ping")
        server.master_dies()
        second = take(b, "short", "0 10")
        c.ask("l", "long", "0 5000")
        c.expect_silence()
        since = server.mark()
        server.start_again()
        third = fence_of(token_of(c.line()))
        check(first < second < third < first + 100, f"{first}, {second}, {third}: no gap either")
        check_eq(server.logged("no locks yet", since), [], "no wait: nothing is forgotten")


@test("a restart and an upgrade keep fences and do not wait; another layout, too", deadline=240,
      rules=["F1"])
def goes_on():
    other = os.path.join(os.environ["top_builddir"], "tests/upgrade/dflockd")
    link = os.path.join(temp_dir(), "dflockd")
    os.symlink(os.environ["DFLOCKD"], link)
    with Server(args(state_file()), program=link) as server:
        last = take(server.client(), "held", "0 600")

        def still():
            client = server.client(timeout=30)
            check_eq(client.req("l", "held", "0"), "timeout", "a lock that is held")
            fence = take(client, f"new{server.mark()}", "0 900")
            check(fence > last, "fences grow")
            check_eq(server.logged("no locks yet"), [], "no wait")
            return fence

        for target in (None, other, os.environ["DFLOCKD"], None):
            if target:
                os.unlink(link)
                os.symlink(target, link)
            since = server.mark()
            server.kill(signal.SIGUSR2)
            server.wait_log("upgraded: all workers run this program", 20, since)
            last = still()
        server.kill(signal.SIGUSR1)
        check_eq(server.proc.wait(20), 0, "the exit status")
        server.start_again()
        last = still()


@test("what a server without a state file has promised counts when it gets one", deadline=180, rules=["F4"])
def gets_a_file():
    path = state_file()
    server = Server(SMALL).start()
    last = take(server.client(), "held", "0 5000")
    server.kill(signal.SIGUSR1)
    check_eq(server.proc.wait(20), 0, "the exit status")
    server.args = args(path)
    server.start_again()
    check(server.logged("the fence state file is new"), "the warning")
    check(take(server.client(), "new") > last, "fences grow")
    crash(server)
    with Server(args(path, "--cold-start-delay", "10000")) as server:
        wait = int(server.wait_log(r"no locks yet.* wait_ms=(\d+)")[1])
        check(wait > 4900000, f"{wait} ms: what was held without a file counts")


@test("a worker that crashes leaves the limits right", deadline=180, rules=["F1"])
def crashed_worker():
    with CrashServer(args(state_file())) as server:
        last = take(server.client(), arg="0 600")
        for i in range(5):
            crashes = len(server.logged("worker died"))
            os.kill(server.worker_pids()[0], signal.SIGSEGV)
            eventually(lambda: len(server.logged("worker died")) > crashes, 20, "it is buried")
            server.whole()
            fence = take(server.client(), f"after{i}", "10 600")
            check(fence > last, "fences grow")
            last = fence


if __name__ == "__main__":
    main(jobs=4)
