#!/usr/bin/env python3
"""sandbox_test.py - what processes gave up: capabilities, the way back to root, files, other calls.
A worker tries to get out (tests/crash/escape.c); another program's workers die of a call that is
denied, and none that is needed is."""

import ctypes
import errno
import os
import re
import signal

from harness import BRIEF, Server, check, check_eq, eventually, main, temp_dir, test, token_of
from load import Load
from points import DENIED_FAILS, DENIED_NEVER, ESCAPE, CrashServer

SYS_LANDLOCK_CREATE_RULESET = 444
KEY = b"escape"


def built_with(name):
    with open(os.path.join(os.environ["top_builddir"], "config.h"), encoding="utf-8") as f:
        return re.search(rf"^#define {name} (.*)$", f.read(), re.M) is not None


SANITIZERS, SECCOMP = built_with("WITH_SANITIZERS"), built_with("HAVE_SECCOMP")


def landlock():
    """The kernel's version of it, 0 = none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def tasks(pid):
    """{field: value} of each thread's status."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as f:
            yield {k: v.strip() for k, v in (line.split(":", 1) for line in f)}


def names(code):
    return errno.errorcode.get(code, code)


def escape(server):
    """What a worker says that its calls came to; it serves on, and so does the master."""
    pids = server.worker_pids()
    client = server.client()
    check_eq(client.req("l", "before", "0 60")[:3], "ok ", "a lock before it")
    server.board.poison(KEY, ESCAPE)
    client.req("l", KEY, "0")
    said = server.board.escaped()
    check(said, "the worker has tried")
    check_eq(client.req("ping"), "ok", "the worker serves on")
    check_eq(server.worker_pids(), pids, "workers")
    if said["create"] == 0:
        os.unlink("/tmp/dflockd-escaped")
    return said


@test("no process has a capability, nor can it get one: not even when root has started it",
      rules=["C70"])
def capabilities():
    with Server() as server:
        for pid in [server.pid] + server.worker_pids():
            for t in tasks(pid):
                for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                    check_eq(int(t[field], 16), 0, f"{field} of {t['Name']} {pid}")
                check_eq(t["NoNewPrivs"], "1", f"NoNewPrivs of {t['Name']} {pid}")
                if os.geteuid() == 0:
                    check_eq(int(t["CapBnd"], 16), 0, f"CapBnd of {t['Name']} {pid}")


@test("all threads of a worker have the filter; what is missing is said, and why", rules=["C71"])
def filtered():
    with Server(["--debug"]) as server:
        said = r"(sandboxed|sandbox is not complete).* landlock=(\S+|\".*\") seccomp=(\S+|\".*\")$"
        line = server.wait_log(said)
        eventually(lambda: len(server.logged(said)) == 2, text="a line of each worker")
        if SANITIZERS:
            check_eq(line[1], "sandbox is not complete", "with sanitizers")
        else:
            check_eq((line[2].isdigit() or line[2] == "on"), landlock() > 0, f"Landlock: {line[0]}")
            check_eq(line[3] == "on", SECCOMP, f"seccomp: {line[0]}")
        check_eq(server.client().req("ping"), "ok", "ping")
        for pid in server.worker_pids():
            all_of_it = list(tasks(pid))
            check_eq(len(all_of_it), 2, "threads")
            for t in all_of_it:
                check_eq(t["Seccomp"], "2" if SECCOMP and not SANITIZERS else "0", "Seccomp")
        check(all(t["Seccomp"] == "0" for t in tasks(server.pid)), "the master has no filter")


@test("a worker's second thread has no descriptor but its eventfd", rules=["C71"])
def bell_thread():
    def held(pid):
        others = [t for t in os.listdir(f"/proc/{pid}/task") if t != str(pid)]
        return [os.readlink(f"/proc/{pid}/task/{t}/fd/{fd}")
                for t in others for fd in os.listdir(f"/proc/{pid}/task/{t}/fd")]

    with Server(["--debug"]) as server:
        # Said when the worker's filter stands, and by then the thread has what it keeps.
        eventually(lambda: len(server.logged("sandboxed|sandbox is not complete")) == 2,
                   text="a line of each worker")
        for pid in server.worker_pids():
            check_eq(held(pid), ["anon_inode:[eventfd]"], "its descriptors")


@test("a worker that tries to get out is told ENOSYS, call by call; the server serves on",
      rules=["C71"])
def the_filter():
    if SANITIZERS or not SECCOMP:
        return check(not built_with("HAVE_SECCOMP") or SANITIZERS, "built without a filter")
    with CrashServer(denied=DENIED_FAILS) as server:
        for call, code in escape(server).items():
            want = 0 if call == "data" else errno.ENOSYS
            check_eq(names(code), names(want), call)


@test("without the filter Landlock and the missing capabilities still deny files, ports, signals",
      rules=["C70", "C71"])
def no_filter():
    if SANITIZERS:
        return check(not SECCOMP or SANITIZERS, "built with sanitizers, which need files")
    version = landlock()
    want = dict.fromkeys(["setuid", "setgroups", "mount", "sethostname"], errno.EPERM)
    if version >= 1:
        want.update(dict.fromkeys(["open", "create", "mkdir", "execve"], errno.EACCES))
    if version >= 4:
        want.update(dict.fromkeys(["bind", "connect"], errno.EACCES))
    if version >= 6:
        want.update(dict.fromkeys(["kill", "tgkill"], errno.EPERM))
    with CrashServer(denied=DENIED_NEVER) as server:
        said = escape(server)
        for call, code in want.items():
            check_eq(names(said[call]), names(code), call)
        check_eq((said["data"], said["fork"]), (0, 0), "what is not denied")


@test("what a worker needs is allowed: workers that die of a denied call do not die", rules=["C71"],
      deadline=180)
def nothing_needed_is_denied():
    path = os.path.join(temp_dir(), "sock")
    with CrashServer(["--max-locks", "5000", "--unix-socket", path, "--gc-interval", "1",
                      "--gc-max-idle", "1"],
                     expect_log=["worker died", "stream position is lost"]) as server:
        load = Load(server, ["pairs", "two_phase", "semaphores", "churn", "half_closes", "leavers",
                             "errors", "bytewise", "expiry", "timeouts", "long_answers",
                             "slow_readers"])
        for turn in range(2 if BRIEF else 4):
            settled = server.board.passes("TAKEOVER_SETTLED")
            server.whole()
            os.kill(server.worker_pids()[0], signal.SIGSEGV if turn % 2 else signal.SIGKILL)
            eventually(lambda: server.board.passes("TAKEOVER_SETTLED") > settled, 30, "an heir")
            local = server.client(unix=path)
            token = token_of(local.req("l", "local", "5"))
            check_eq(local.req("r", "local", token), "ok", "over the Unix socket")
            local.close()
            load.check()
        server.whole()
        load.stop()
        check(not server.logged("signal=SYS"), "no call was denied")


@test("a secret that comes with a reload: nothing has to be opened for it", rules=["C71"])
def first_secret():
    directory = temp_dir()
    conf, tokens = f"{directory}/conf", f"{directory}/tokens"
    with open(conf, "w", encoding="utf-8") as f:
        f.write("gc_interval = 6\n")
    with CrashServer(["--config", conf]) as server:
        clients = [server.client() for _ in range(4)]
        for c in clients:
            check_eq(c.req("ping"), "ok", "without a secret")
        with open(tokens, "w", encoding="utf-8") as f:
            f.write("secret\n")
        with open(conf, "a", encoding="utf-8") as f:
            f.write(f"auth_token_file = {tokens}\n")
        server.kill(signal.SIGHUP)
        server.wait_log(" reload .*result=done", 20)
        for c in [server.client() for _ in range(4)]:
            check_eq(c.req("auth", "", "secret"), "ok", "with one")


if __name__ == "__main__":
    main()
