"""dflockctl_top_test.py - docs/rules.md: dflockctl top on a terminal of the test's own."""

import os
import signal

from ctl import CTL, Terminal, address, column, ctl, environment, hung
from harness import Server, check, check_eq, eventually, main, test, token_of

FAST = ["top", "-i", "0.2"]


def table(screen):
    """The part below the heads, as text."""
    at = next((i for i, x in enumerate(screen) if "WAITERS" in x), len(screen))
    return "\n".join(screen[at:])


def keys(t):
    text = table(t.screen)
    return column(text, "KEY") if text else None


def shows(t, want, text):
    t.wait(lambda t: keys(t) == want, f"{text}: {want}")


@test("top shows the keys, those with the most waiters first, as they change", rules=["K12"],
      deadline=120)
def live():
    with Server() as server:
        c = server.client()
        held = {key: token_of(c.req("l", key, "0 300")) for key in ["a", "b", "c"]}
        for _ in range(3):
            token_of(c.req("sl", "s", "0 5 300"))
        queue = [server.client() for _ in range(3)]
        check_eq(queue[0].req("e", "c"), "queued", "e")
        with Terminal([*FAST, server]) as t:
            shows(t, ["c", "s", "a", "b"], "at first")
            text = table(t.screen)
            check_eq(column(text, "WAITERS"), ["1", "0", "0", "0"], "waiters")
            check_eq(column(text, "HOLDERS"), ["1", "3", "1", "1"], "holders")
            check_eq(column(text, "LIMIT"), ["1", "5", "1", "1"], "limits")
            check("4 keys, 6 held, 1 waiting" in t.screen[0], t.screen[0])
            for w in queue[1:]:
                check_eq(w.req("e", "b"), "queued", "e")
            shows(t, ["b", "c", "s", "a"], "two wait for b")
            t.press("o")
            shows(t, ["c", "b", "s", "a"], "the oldest wait first")
            t.press("h")
            shows(t, ["s", "b", "c", "a"], "the most holders first")
            t.press("k")
            shows(t, ["a", "b", "c", "s"], "by key")
            t.press("w")
            shows(t, ["b", "c", "s", "a"], "the most waiters again")
            for w in queue:
                w.close()
            for key, token in held.items():
                check_eq(c.req("r", key, token), "ok", "r")
            t.wait(lambda t: "4 keys, 3 held, 0 waiting" in t.screen[0], "what was released")
            t.press("q")
            check_eq(t.ended(), 0, "status")
            t.check_restored()
        with Terminal(["top", "-i", "1000", server]) as t:
            shows(t, ["s", "a", "b", "c"], "one look")
            t.press("k")
            shows(t, ["a", "b", "c", "s"], "another order needs no other look")
            token_of(c.req("l", "d", "0 300"))
            t.press(" ")
            shows(t, ["a", "b", "c", "d", "s"], "a look that was asked for")


@test("lines are cut to the width, their number to the height, also when these change",
      rules=["K12"], deadline=120)
def sizes():
    with Server() as server:
        c = server.client()
        for i in range(60):
            token_of(c.req("l", f"{i:03}-" + "k" * 230, "0 300"))
        token_of(c.req("l", "000-" + "鍵" * 60, "0 300"))
        with Terminal(["top", "-i", "1000", server]) as t:
            for rows, columns in [(24, 80), (10, 40), (50, 200), (2, 20), (1, 1), (24, 80)]:
                t.resize(rows, columns)
                os.kill(t.proc.pid, signal.SIGWINCH)
                wide = lambda x: len(x) + x.count("鍵")
                t.wait(lambda t: len(t.screen) == min(rows, 64) and
                       columns - 1 <= max(wide(x) for x in t.screen) <= columns or
                       len(t.screen) == 1 == rows, f"{columns}x{rows}")
            t.press("q")
            check_eq(t.ended(), 0, "status")
            t.check_restored()


@test("a server that does not answer is named; the others are shown, keys work", rules=["K12", "K4"],
      deadline=120)
def silent():
    with Server() as a, Server() as b:
        token_of(a.client().req("l", "of-a", "0 300"))
        token_of(b.client().req("l", "of-b", "0 300"))
        with Terminal([*FAST, [a, b], "--connect-timeout", "2"]) as t:
            shows(t, ["of-a", "of-b"], "both")
            with hung(a):
                shows(t, ["of-b"], "the one that answers")
                check(any(address(a) in x for x in t.screen[1:3]), f"{t.screen}")
            shows(t, ["of-a", "of-b"], "both again")
            check(not any("answer" in x for x in t.screen), f"{t.screen}")
        with hung(a), Terminal([*FAST, a, "--connect-timeout", "600"]) as t:
            t.wait(lambda t: t.screen, "a first frame")
            t.press("q")
            check_eq(t.ended(), 0, "q while nobody answers")
            t.check_restored()


@test("a server that is started again is seen again", rules=["K12"], deadline=120)
def again():
    with Server() as server:
        with Terminal([*FAST, server]) as t:
            t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
            port = server.port
            server.stop()
            t.wait(lambda t: any("refused" in x or "ended" in x or "closed" in x for x in t.screen),
                   "that it is gone")
            with Server(["--port", str(port)]) as other:
                token_of(other.client().req("l", "new", "0 300"))
                shows(t, ["new"], "the next server's")
            t.press("Q")
            check_eq(t.ended(), 0, "status")


@test("the terminal is as before, whichever signal ends it, and the signal is what ended it",
      rules=["K13"], deadline=120)
def signals():
    with Server() as server:
        for s in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]:
            with Terminal([*FAST, server]) as t:
                t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
                check(t.settings() != t.before, "the terminal is not ours")
                os.kill(t.proc.pid, s)
                check_eq(t.ended(), -s, "how it ended")
                t.check_restored()
        for key, s in [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT), ("\x13", signal.SIGTERM)]:
            with Terminal([*FAST, server]) as t:
                t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
                t.press(key)
                if key == "\x13":  # Ctrl-S: does not stop the terminal
                    frames = t.raw.count(b"\033[H")
                    t.wait(lambda t: t.raw.count(b"\033[H") > frames + 2, "it goes on drawing")
                    os.kill(t.proc.pid, s)
                check_eq(t.ended(), -s, "how it ended")
                t.check_restored()


@test("a signal that was ignored before is ignored (nohup)", rules=["K13"], deadline=120)
def ignored():
    with Server() as server:
        with Terminal(["-c", f"trap '' HUP; exec {CTL} top -i 0.2 -s {address(server)}"],
                      program="/bin/sh") as t:
            t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
            os.kill(t.proc.pid, signal.SIGHUP)
            token_of(server.client().req("l", "later", "0 300"))
            shows(t, ["later"], "it goes on")
            os.kill(t.proc.pid, signal.SIGTERM)
            check_eq(t.ended(), -signal.SIGTERM, "how it ended")


@test("Ctrl-Z gives the terminal back and stops, fg draws again", rules=["K13"], deadline=120)
def stopped():
    with Server() as server:
        # A shell with job control: what top is a job of.
        script = f"set -m; {CTL} top -i 0.2 -s {address(server)}; echo; stty -a; echo stopped-$?; " \
                 "fg; echo ended-$?"
        with Terminal(["-c", script], program="/bin/bash") as t:
            t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
            t.press("\x1a")
            t.wait(lambda t: b"stopped-" in t.raw, "the shell goes on")
            check_eq(t.raw.count(b"\033[?1049l"), t.raw.split(b"stopped-")[0].count(b"\033[?1049h"),
                     "the screen was given back")
            settings = t.raw.split(b"stopped-")[0].decode()
            check(" icanon" in settings and " echo " in settings, f"settings: {settings[-600:]}")
            t.wait(lambda t: b"\033[?1049h" in t.raw.split(b"stopped-")[1], "it draws again")
            t.raw = t.raw.split(b"stopped-")[1]
            t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the table again")
            t.press("q")
            t.wait(lambda t: b"ended-0" in t.raw, "its end")
            check_eq(t.ended(), 0, "the shell")
            check_eq(t.settings(), t.before, "the terminal's settings")


@test("a stop that the kernel does not grant, with no shell to continue it, leaves it drawing",
      rules=["K13"], deadline=120)
def not_stopped():
    with Server() as server:
        with Terminal([*FAST, server]) as t:
            t.wait(lambda t: t.screen and "0 keys" in t.screen[0], "the empty table")
            os.kill(t.proc.pid, signal.SIGTSTP)
            t.wait(lambda t: t.raw.count(b"\033[?1049h") == 2, "it draws again")
            t.press("q")
            check_eq(t.ended(), 0, "status")
            t.check_restored()


@test("a terminal that goes away ends it", rules=["K13"], deadline=120)
def gone():
    with Server() as server:
        with Terminal([*FAST, server]) as t:
            t.wait(lambda t: t.screen, "a frame")
            os.close(t.slave)
            os.close(t.master)
            t.slave = t.master = -1
            t.proc.wait(20)
            check(t.proc.returncode != 0, f"status {t.proc.returncode}")


@test("without a terminal that can be drawn upon top prints one page", rules=["K12"])
def one_page():
    with Server() as server:
        c = server.client()
        for i in range(60):
            token_of(c.req("l", f"key-{i:02}", "0 300"))
        check_eq(server.client().req("e", "key-59"), "queued", "e")
        r = ctl("top", server, status=0)
        check_eq(len(r.lines), 24, "lines")
        check_eq(column("\n".join(r.lines[1:]), "KEY")[:3], ["key-59", "key-00", "key-01"], "keys")
        check("\033" not in r.out and "60 keys, 60 held, 1 waiting" in r.lines[0], f"{r}")
        for term in ["dumb", None]:
            env = environment({"TERM": term or ""})
            if term is None:
                del env["TERM"]
            with Terminal(["top", server], env=env) as t:
                if term is None:
                    continue
                check_eq(t.ended(), 0, "status")
                check(b"\033" not in t.raw and b"key-59" in t.raw, f"{t.raw}")


if __name__ == "__main__":
    main()
