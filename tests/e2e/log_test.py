#!/usr/bin/env python3
"""log_test.py - the log as those read it who collect it: JSON, the journal's priorities, and the lines
that are written whatever the level and however many there are."""

import json
import os
import re
import signal
import socket
import subprocess

from harness import Client, Server, check, check_eq, eventually, main, temp_dir, temp_file, test
from points import Board

SECRET, ADMIN, WRONG = "right-secret-4711", "admin-secret-4712", "wrong-secret-4713"


def launch(args, stderr, program=None, **env):
    """A server that says nothing of itself to a harness. end() ends it, workers and all."""
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith("DFLOCKD_") and k != "JOURNAL_STREAM"}
    clean.update(env, DFLOCKD_RUN_DIR=os.path.join(temp_dir(), "run"))
    return subprocess.Popen([program or os.environ["DFLOCKD"], "--port", "0", *args], env=clean,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                            start_new_session=True)


def end(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Quiet:
    """The tests' program on a Unix socket at --log-level error, its log in a file."""

    def __init__(self, *args):
        directory = temp_dir()
        self.socket, self.board = f"{directory}/sock", Board()
        self.path = f"{directory}/log"
        program = os.path.join(os.environ["top_builddir"], "tests/crash/dflockd")
        with open(self.path, "w", encoding="utf-8") as log:
            self.proc = launch(["--unix-socket", self.socket, "--workers", "2",
                                "--log-level", "error", *args], log, program,
                               CRASH_POINTS_FILE=self.board.path)

    def __enter__(self):
        eventually(self.listens, 20, "it listens")
        return self

    def listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.socket) == 0

    def __exit__(self, *_):
        end(self.proc)

    def client(self):
        return Client(("unix", 0), unix=self.socket)

    def lines(self, text):
        with open(self.path, encoding="utf-8") as f:
            return [x for x in f.read().splitlines() if text in x]


@test("each failed authentication has its line, with the address and why, and never the token",
      rules=["C72", "P74"])
def failures():
    token, admin = temp_file(SECRET + "\n"), temp_file(ADMIN + "\n")
    failed = "authentication failed"
    with Server(["--auth-token-file", token, "--admin-token-file", admin]) as server:
        clients = []
        for n in range(60):
            clients.append(server.client(source=f"127.0.1.{n + 1}"))  # one alone would be slowed
            check_eq(clients[n].req("auth", "", WRONG), "error_auth", "a wrong token")
        whys = {"wrong token": {c.local for c in clients}}
        for why, request in (("a command before auth", f"l\n{WRONG}\n0\n"),
                             ("unknown command", f"{WRONG}\n\n\n"),
                             ("line too long", "ping\n" + WRONG * 30 + "\n\n")):
            c = server.client()
            c.send(request)
            c.expect("error_auth", why)
            whys[why] = {c.local}
        eventually(lambda: len(server.logged(failed)) >= 63, 20, "lines")
        lines = server.logged(failed)
        found = {}
        for line in lines:
            m = re.search(r" warn authentication failed .* peer=(\S+) why=(\S+|\"[^\"]*\")$", line)
            check(m, line)
            found.setdefault(m[2].strip('"'), []).append(m[1])
        check_eq({why: set(who) for why, who in found.items()}, whys, "who failed, and why")
        check_eq(len(lines), 63, "lines")
        check_eq(server.client().req("auth", "", SECRET), "ok", "the right one")
        check_eq(len(server.logged(failed)), 63, "lines after that")
        for line in server.log:
            check(not re.search("secret-47", line), line)
    # Apart, where nobody else can be too slow for it.
    with Server(["--auth-token-file", token, "--read-timeout", "1"]) as server:
        c = server.client()
        c.expect("error_auth", "who says nothing")
        line = server.wait_log(failed).string
        check(line.endswith(f" peer={c.local} why=\"read deadline passed\""), line)
        check_eq(len(server.logged(failed)), 1, "lines")


@test("guesses at the admin token are logged, and held back where one connection may go on guessing",
      rules=["C72", "C35"])
def guesses():
    with Server(["--admin-token-file", temp_file(ADMIN + "\n")]) as server:
        c = server.client()
        for _ in range(100):
            check_eq(c.req("auth", "", WRONG), "error", "a wrong token")
        server.wait_log("authentication failed")
        lines = server.logged("authentication failed")
        check(1 <= len(lines) < 60, f"{len(lines)} lines")
        check(f"peer={c.local} why=\"wrong admin token\"" in lines[0], lines[0])
        check_eq(c.req("auth", "", ADMIN), "ok", "the right one")
        check(not server.logged("secret-47"), "no token")


@test("deaths, takeovers, repairs and failed authentications are written at --log-level error too",
      rules=["C72"], deadline=180)
def whatever_the_level():
    with Quiet("--auth-token-file", temp_file(SECRET + "\n")) as server:
        wrong = [server.client() for _ in range(30)]
        for c in wrong:
            c.ask("auth", "", WRONG)  # the answer comes later and later
        eventually(lambda: len(server.lines("authentication failed")) >= 30, 20, "lines")
        check_eq(len(server.lines("authentication failed")), 30, "lines")
        for c in wrong:
            c.close()
        for n in range(1, 26):
            c = server.client()
            check_eq(c.req("auth", "", SECRET), "ok", "the right one")
            server.board.arm("SHARED_COMMIT")
            c.ask("l", "key", "0")
            eventually(lambda: len(server.lines("took over")) >= n, 20, f"takeover {n}")
            c.close()
        # An heir does it, with a budget of lines of its own, or the other worker, which has 20 at once.
        eventually(lambda: len(server.lines("shards repaired after a death")) >= 20, 20, "repairs")
        check(len(server.lines("worker died")) >= 25, "deaths")
        check_eq(server.lines(" listening "), [], "what is information only")


NASTY = [b'quo"te', b"back\\slash", b"tab=\x01\x1b[31m", b"\xff\xfe", "ümläut\u2028".encode(), b"\x7f"]


def evict_all(server):
    c = server.client()
    check_eq(c.req("auth", "", ADMIN), "ok", "auth")
    for key in NASTY:
        check_eq(c.req("evict", key, "lock"), "error", "nothing to evict")


@test("JSON: each line is an object, keys of any bytes are in it whole", rules=["C32", "C25"])
def json_lines():
    ours, theirs = socket.socketpair()
    p = launch(["--workers", "1", "--debug", "--log-format", "json",
                "--admin-token-file", temp_file(ADMIN + "\n")], theirs)
    theirs.close()
    ours.settimeout(10)
    lines = []

    def read(until):
        while not until():
            line = reader.readline()
            check(line, "the log goes on")
            lines.append(json.loads(line.decode("utf-8")))
            check_eq(list(lines[-1])[:3], ["time", "level", "msg"], "the first keys")

    try:
        with ours.makefile("rb") as reader:
            read(lambda: lines and lines[-1]["msg"] == "listening")
            port = int(lines[-1]["address"].rsplit(":", 1)[1])
            evict_all(type("S", (), {"client": lambda self: Client(("127.0.0.1", port))})())
            read(lambda: sum(x["msg"] == "evict" for x in lines) == len(NASTY))
    finally:
        end(p)
    check_eq([x["key"] for x in lines if x["msg"] == "evict"],
             [k.decode("utf-8", "replace") for k in NASTY], "keys")


@test("text: a line is a line, keys of any bytes are escaped in it", rules=["C32"])
def text_lines():
    with Server(["--admin-token-file", temp_file(ADMIN + "\n")]) as server:
        evict_all(server)
        eventually(lambda: len(server.logged(" info evict ")) == len(NASTY), 20, "lines")
        for line in server.logged(" info evict "):
            check(line.isprintable(), repr(line))
            check(re.search(r' key=(\S+|"([^"\\]|\\.)*") kind=lock ', line), line)


def first_lines(kind, stream, *args):
    """The first three lines of a server whose stderr is a socket; stream(stat) is JOURNAL_STREAM."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    st = os.fstat(theirs.fileno())
    p = launch(["--workers", "1", *args], theirs, JOURNAL_STREAM=stream(st))
    theirs.close()
    ours.settimeout(10)
    text = b""
    try:
        while text.count(b"\n") < 3:
            data = ours.recv(65536)
            check(data, "the log goes on")
            text += data
    finally:
        end(p)
        ours.close()
    return text.decode("utf-8").splitlines()[:3]


@test("under the journal each line begins with its priority; JOURNAL_STREAM must name stderr itself",
      rules=["C73"])
def journal():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        lines = first_lines(kind, lambda st: f"{st.st_dev}:{st.st_ino}")
        number = {"error": 3, "warn": 4, "info": 6, "debug": 7}
        for line in lines:
            m = re.match(r"<(\d)>\d{4}-\d\d-\d\dT\S+Z (\w+) ", line)
            check(m and int(m[1]) == number[m[2]], line)
    for stream in (lambda st: f"{st.st_dev}:{st.st_ino + 1}",
                   lambda st: f"{st.st_dev + 1}:{st.st_ino}", lambda st: "", lambda st: "no:thing"):
        for line in first_lines(socket.SOCK_STREAM, stream):
            check(re.match(r"\d{4}-", line), line)
    for line in first_lines(socket.SOCK_STREAM, lambda st: f"{st.st_dev}:{st.st_ino}",
                            "--log-format", "json"):
        m = re.match(r"<[3467]>(\{.*\})$", line)
        check(m and "msg" in json.loads(m[1]), line)


if __name__ == "__main__":
    main()
