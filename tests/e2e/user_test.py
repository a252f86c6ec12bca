#!/usr/bin/env python3
"""user_test.py - --user and --group: who the processes are afterwards, in every respect. Needs root,
whose children it looks at; started by another it can only show that he may change nothing."""

import grp
import os
import pwd
import signal
import subprocess

from certs import authority, client_context, text_of
from harness import Server, check, check_eq, install_script, main, temp_dir, test, token_of

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
DAEMON = grp.getgrnam("daemon").gr_gid
INHERITED = [0, 4, 7]  # supplementary groups of who starts the server


def refused(args, code, *texts, program=None, prefix=()):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    env["DFLOCKD_RUN_DIR"] = os.path.join(shared_dir(), "run")
    p = subprocess.run([*prefix, program or os.environ["DFLOCKD"], "--port", "0", *args], env=env, text=True,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    check_eq(p.returncode, code, f"{args}: {p.stderr}")
    last = [x for x in p.stderr.splitlines() if x.startswith("dflockd: ")][-1]
    for text in texts:
        check(text in last, f"'{text}' in {last}")


def started_by(*setpriv):
    """A program that is dflockd, started by somebody else."""
    path = os.path.join(temp_dir(), "dflockd")
    install_script(path, f"exec setpriv {' '.join(setpriv)} {os.environ['DFLOCKD']} \"$@\"\n")
    return path


def shared_dir():
    path = temp_dir()
    while path != "/tmp":  # others must get in
        os.chmod(path, 0o755)
        path = os.path.dirname(path)
    path = temp_dir()
    os.chmod(path, 0o777)
    return path


def check_identity(server, uid, gid, groups):
    for pid in [server.pid] + server.worker_pids():
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            status = dict(line.rstrip("\n").split(":", 1) for line in f)
        check_eq(status["Uid"].split(), [str(uid)] * 4, f"real, effective, saved uid of {pid}")
        check_eq(status["Gid"].split(), [str(gid)] * 4, f"real, effective, saved gid of {pid}")
        check_eq(sorted(map(int, status["Groups"].split())), sorted(groups), f"groups of {pid}")


def identity(args, uid, gid, groups, program):
    """The server is this user, and so is its socket."""
    path = os.path.join(shared_dir(), "sock")
    with Server(["--unix-socket", path, *args], program=program) as server:
        check_identity(server, uid, gid, groups)
        st = os.stat(path)
        check_eq((st.st_uid, st.st_gid), (uid, gid), "the socket's owner")
        check_eq(server.client(unix=path).req("ping"), "ok", "over it")
        check_eq(server.client().req("ping"), "ok", "ping")
        warned = bool(server.logged(" warn the server stays root"))
        check_eq(warned, uid == 0, "a warning that it stays root")


@test("unknown users and groups are refused, and who is not root may not change", rules=["C7"])
def unknown():
    for flag in ("--user", "--group"):
        refused([flag, "no-such-name"], 78, flag, "no-such-name")
    drop = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if ROOT else []
    for args in (["--user", "root"], ["--group", "daemon"]):
        refused(args, 1, "only root", args[1], prefix=drop)


if ROOT:
    @test("--user: its uid, its group and its supplementary groups, of all processes, and no others",
          rules=["C7"])
    def user():
        inherited = started_by("--groups", ",".join(map(str, INHERITED)))
        own = os.getgrouplist("nobody", NOBODY.pw_gid)
        identity(["--user", "nobody"], NOBODY.pw_uid, NOBODY.pw_gid, own, inherited)
        own = os.getgrouplist("nobody", DAEMON)
        identity(["--user", "nobody", "--group", "daemon"], NOBODY.pw_uid, DAEMON, own, inherited)

    @test("--group alone: the group, no supplementary groups of who started it; it stays root",
          rules=["C7"])
    def group():
        inherited = started_by("--groups", ",".join(map(str, INHERITED)))
        identity(["--group", "daemon"], 0, DAEMON, [DAEMON], inherited)
        identity([], 0, 0, INHERITED, inherited)

    @test("started with root as the effective uid only: nothing of root is left", rules=["C7"])
    def leftovers():
        program = started_by("--ruid", "nobody", "--euid", "0", "--rgid", "nogroup", "--egid", "0",
                             "--clear-groups")
        own = os.getgrouplist("nobody", NOBODY.pw_gid)
        identity(["--user", "nobody"], NOBODY.pw_uid, NOBODY.pw_gid, own, program)
        program = started_by("--ruid", "0", "--euid", "nobody")
        refused(["--user", "nobody"], 1, "cannot become nobody", program=program)

    @test("started as the user that it is to become: nothing has to change", rules=["C7"])
    def already():
        as_nobody = started_by("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
        where = os.path.join(shared_dir(), "run")
        with Server(["--user", "nobody", "--run-dir", where], program=as_nobody) as server:
            check_identity(server, NOBODY.pw_uid, NOBODY.pw_gid, [])

    @test("a reload that the user may not read the files of says so, and the old settings stay",
          rules=["C39", "C41"], needs=["tls"])
    def unreadable():
        where = shared_dir()

        def put(name, data, owner):
            """Replaces the file, with mode 0600."""
            path = os.path.join(where, name)
            with open(path + ".new", "wb") as f:
                f.write(data)
            os.chmod(path + ".new", 0o600)
            os.chown(path + ".new", owner, -1)
            os.rename(path + ".new", path)
            return path

        def reload(result):
            since = server.mark()
            server.kill(signal.SIGHUP)
            server.wait_log(f" reload proc=master result={result}", 20, since)
            return "\n".join(server.log[since:])

        cert = authority().issue()
        certificate = put("cert", text_of(cert.cert), NOBODY.pw_uid)
        key = put("key", text_of(cert.key), NOBODY.pw_uid)
        secret = put("secret", b"first\n", NOBODY.pw_uid)
        args = ["--user", "nobody", "--auth-token-file", secret, "--tls-cert", certificate,
                "--tls-key", key]
        with Server(args, expect_log=["configuration", "refused"]) as server:
            for option, path in (("--auth-token-file", secret), ("--tls-key", key)):
                old = text_of(path)
                put(os.path.basename(path), b"second\n", 0)
                text = (f"{option}: {path}: Permission denied: the user that dflockd runs as must "
                        "be able to read it")
                check(text in reload('"refused, the old settings stay"'), text)
                c = server.client(tls=client_context())
                check_eq(c.req("auth", "", "first"), "ok", "the old secret, over TLS")
                token_of(c.req("l", option, "0"))
                put(os.path.basename(path), old, NOBODY.pw_uid)
            reload("done")


if __name__ == "__main__":
    main()
