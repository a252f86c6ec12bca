"""dflockctl_evict_test.py - docs/rules.md: taking a lock away, asked for on a terminal or with --yes."""


from ctl import Terminal, address, column, ctl, hung
from harness import Server, check, check_eq, eventually, fence_of, main, temp_file, test, token_of

ADMIN = temp_file(b"the admin's\n")
TOKEN = ["--auth-token-file", ADMIN]


def admin_server(*more):
    return Server(["--admin-token-file", ADMIN, *more], expect_log=["evict"])


def held(server, key, *kind):
    """Fences of those who hold it, the newest first."""
    found = ctl("show", key, "--json", *kind, server, *TOKEN).json
    return [int(x["fence"]) for x in found[0]["holders"]] if found else []


def client(server):
    c = server.client()
    check_eq(c.req("auth", "", "the admin's"), "ok", "auth")
    return c


@test("evict --yes takes a lock from its holder, and says whose it was", rules=["K10"])
def evict():
    with admin_server() as server:
        c, waiter = client(server), client(server)
        token = token_of(c.req("l", "key", "0 300"))
        waiter.ask("l", "key", "300")
        eventually(lambda: column(ctl("ls", server, *TOKEN).out, "WAITERS") == ["1"], timeout=30)
        r = ctl("evict", "key", "--yes", server, *TOKEN, status=0)
        check_eq(r.out, f"evicted: lock key at {address(server)} from {c.local}, "
                        f"fence {fence_of(token)}\n", "what it says")
        token_of(waiter.line())
        check_eq(c.req("r", "key", token), "error", "it is not the holder's any more")


@test("evict takes the slot with the fence that was named, or else the oldest", rules=["K10"])
def evict_slot():
    with admin_server() as server:
        c = client(server)
        fences = [fence_of(token_of(c.req("sl", "key", "0 5 300"))) for _ in range(4)]
        lock = fence_of(token_of(c.req("l", "key", "0 300")))
        ctl("evict", "key", "--sem", "--fence", str(fences[2]), "-y", server, *TOKEN, status=0)
        check_eq(held(server, "key", "--sem"), [fences[3], fences[1], fences[0]], "the one named")
        ctl("evict", "key", "--sem", "-y", server, *TOKEN, status=0)
        check_eq(held(server, "key", "--sem"), [fences[3], fences[1]], "the oldest")
        r = ctl("evict", "key", "--sem", "--fence", "12", "-y", server, *TOKEN, status=1)
        check("nobody holds it with fence 12" in r.err, f"{r}")
        r = ctl("evict", "key", "--fence", str(fences[3]), "-y", server, *TOKEN, status=1)
        check("nobody holds it" in r.err, f"the fence is a semaphore's: {r}")
        check_eq((held(server, "key", "--lock"), len(held(server, "key", "--sem"))), ([lock], 2),
                 "nothing else")
        ctl("evict", "key", "--lock", "-y", server, *TOKEN, status=0)
        check_eq(held(server, "key", "--lock"), [], "the lock")


@test("nothing to evict: 1; no admin's token: 77, and nothing has happened", rules=["K10", "K3"])
def nothing():
    with admin_server() as server:
        c = client(server)
        for kind, says in [([], "lock"), (["--sem"], "semaphore")]:
            r = ctl("evict", "none", "-y", *kind, server, *TOKEN, status=1)
            check_eq(r.err, f"dflockctl: {says} none at {address(server)}: there is none\n", "none")
        c.req("r", "idle", token_of(c.req("l", "idle", "0")))
        r = ctl("evict", "idle", "-y", server, *TOKEN, status=1)
        check("nobody holds it" in r.err, f"{r}")
    other = temp_file(b"a user's\n")
    with admin_server("--auth-token-file", other) as server:
        c = client(server)
        fence = fence_of(token_of(c.req("l", "key", "0 300")))
        r = ctl("evict", "key", "-y", server, "--auth-token-file", other, status=77)
        check(len(r.err.splitlines()) == 1 and "admin" in r.err, f"{r}")
        check_eq(held(server, "key"), [fence], "who holds it")


@test("without a terminal and without --yes evict refuses before it asks the server",
      rules=["K10", "K2"])
def nobody_to_ask():
    with admin_server() as server:
        c = client(server)
        fence = fence_of(token_of(c.req("l", "key", "0 300")))
        r = ctl("evict", "key", server, *TOKEN, status=64)
        check("--yes" in r.err.splitlines()[0], f"{r}")
        check_eq(held(server, "key"), [fence], "who holds it")


def at_prompt(server, *args):
    t = Terminal(["evict", "key", server, *TOKEN, *args])
    t.wait(lambda t: b"[y/N] " in t.raw, "the question")
    return t


@test("on a terminal evict shows who holds it and asks; only y takes it away", rules=["K10"])
def asks():
    with admin_server() as server:
        c = client(server)
        fence = fence_of(token_of(c.req("l", "key", "0 300")))
        for answer in ["n\n", "\n", "\x04", "ja nein\n"[3:]]:
            with at_prompt(server) as t:
                for part in [c.local, str(fence), "lock key", address(server)]:
                    check(part.encode() in t.raw, f"{part} is not in {t.raw}")
                t.press(answer)
                check_eq(t.ended(), 1, f"status after {answer!r}")
            check_eq(held(server, "key"), [fence], f"after {answer!r}")
        with at_prompt(server) as t:
            t.press("y\n")
            check_eq(t.ended(), 0, f"status after y: {t.raw}")
        check_eq(held(server, "key"), [], "after y")


@test("who got the lock while the question stood keeps it", rules=["K11"])
def shown_only():
    with admin_server() as server:
        c = client(server)
        token = token_of(c.req("l", "key", "0 300"))
        with at_prompt(server) as t:
            c.req("r", "key", token)
            fence = fence_of(token_of(c.req("l", "key", "0 300")))
            t.press("y\n")
            check_eq(t.ended(), 1, "status")
            check(f"fence {fence_of(token)} is gone".encode() in t.raw, f"{t.raw}")
        check_eq(held(server, "key"), [fence], "the new holder")


@test("a question that stood for longer than the server's patience is answered all the same",
      rules=["K10"])
def slow_answer():
    with admin_server("--read-timeout", "4") as server:
        c = client(server)
        token_of(c.req("l", "key", "0 300"))
        with at_prompt(server) as t:
            eventually(lambda: ctl("stats", server, *TOKEN, "--json").json[0]["connections"] == 2,
                       timeout=40, text="the server ends the idle connection")
            t.press("y\n")
            check_eq(t.ended(), 0, f"status: {t.raw}")


if __name__ == "__main__":
    main()
