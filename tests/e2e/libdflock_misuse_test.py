"""libdflock_misuse_test.py - the low level of libdflock used as it must not be: a small program for
each sort (tests/client/misuse), against a real server, and against one that only listens, which
tells that nothing was sent."""

import os
import subprocess

from harness import Server, check, check_eq, eventually, fail, json_of, main, test
from lowlevel import Fake, LowLevel, address

WHERE = os.path.join(os.environ["top_builddir"], "tests/client/misuse")


def run(name, to):
    """The program's own tests."""
    r = subprocess.run([os.path.join(WHERE, name), to], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                       errors="backslashreplace", timeout=100)
    bad = [x for x in r.stdout.splitlines() if not x.startswith("ok ")]
    if r.returncode != 0:
        fail(f"{name} ended with {r.returncode}:\n" + "\n".join(bad[:40]))
    check("\n1.." in r.stdout or r.stdout.startswith("1.."), f"{name} has tested nothing")


def answers(peer):
    """What the programs ask when all the rest was refused."""
    while True:
        request = peer.request()
        if not request:
            return
        peer.send(b"error_not_enqueued\n" if request[0] == b"w" else b"ok\n")


SILENT = {"keys": b"ping\n_\n\n" + b"w\n" + b"k" * 256 + b"\n0\n",
          "tokens": b"ping\n_\n\n",
          "numbers": b"ping\n_\n\n"}


for name, sent in SILENT.items():
    @test(f"misuse/{name}: refused, and nothing is sent", rules=["X8"])
    def silent(name=name, sent=sent):
        with Fake(answers) as fake:
            run(name, fake.address)
            check_eq(fake.heard, sent, "what was sent")
        with Server() as server:
            run(name, address(server))


def somebody_waits(watch):
    eventually(lambda: any(x["waiters"] for x in json_of(watch.req("stats"))["locks"]), 20,
               "nobody waits")


def on_a_server(name):
    with Server() as server:
        run(name, address(server))


@test("misuse/closed: each call on a closed connection", rules=["X11"])
def closed():
    on_a_server("closed")


@test("misuse/null: no address, nothing to store a result in", rules=["X8"])
def null():
    on_a_server("null")


@test("misuse/pipeline: blocking calls while replies are outstanding", rules=["X12"])
def pipeline():
    on_a_server("pipeline")


@test("misuse/threads: four threads, one connection", rules=["X12"])
def threads():
    on_a_server("threads")


@test("a call in one thread is cancelled from another; the connection and its locks are gone",
      rules=["X11"])
def cancel():
    with Server() as server:
        watch = server.client()
        with LowLevel(address(server)) as holder, LowLevel(address(server)) as c:
            holder.must("acquire", "key", 0, 60)
            c.must("acquire", "mine", 0, 60)
            c.begin("acquire", "key", 3600, 0)
            somebody_waits(watch)
            check_eq(c.cancel().name, "ok", "the cancel")
            check_eq(c.answer().name, "cancelled", "the call")
            check_eq(c.ping().name, "closed", "the connection")
            # All that it held, and its place in the queue, is free.
            check_eq(holder.acquire("mine", 15, 0).name, "ok", "what it held")
            eventually(lambda: ("key", 0) in [(x["key"], x["waiters"]) for x in
                                              json_of(watch.req("stats"))["locks"]],
                       text="its place in the queue is kept")


@test("closed from another thread while a call blocks", rules=["X11"])
def closed_meanwhile():
    with Server() as server:
        watch = server.client()
        with LowLevel(address(server)) as holder, LowLevel(address(server)) as c:
            holder.must("acquire", "key", 0, 60)
            c.begin("acquire", "key", 3600, 0)
            somebody_waits(watch)
            c.must("close")
            check(c.answer().name in ("closed", "cancelled"), "the call that blocked")
            check_eq(c.ping().name, "closed", "the connection")


@test("two calls in two threads take turns: the second waits until the first is done",
      rules=["X12"])
def turns():
    with Server() as server:
        watch = server.client()
        with LowLevel(address(server)) as holder, LowLevel(address(server)) as c:
            grant = holder.must("acquire", "key", 0, 60)
            c.begin("acquire", "key", 3600, 0)
            somebody_waits(watch)
            c.begin("ping")
            check(c.blocks(), "neither is done")
            holder.must("release", "key", grant.stored[0])
            check_eq(sorted([c.answer().name, c.answer().name]), ["ok", "ok"], "both")


if __name__ == "__main__":
    main()
