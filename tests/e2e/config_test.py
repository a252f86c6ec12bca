#!/usr/bin/env python3
"""config_test.py - flags, variables, errors, exit codes; addresses, sockets, low limits."""

import os
import re
import socket
import stat
import subprocess
import tempfile
import time

from harness import (Client, Server, check, check_eq, eventually, in_threads, json_of, left_out,
                     main, temp_dir, temp_file, test, token_of)

# flag, variable, default as -T shows it, another value, values that are refused
SETTINGS = [
    ("host", "DFLOCKD_HOST", "127.0.0.1", "127.0.0.2,::1", ["a b", "1:2", "a,,b"]),
    ("port", "DFLOCKD_PORT", "6388", "7000", ["abc", "-1", "65536", "1.5", "0x10"]),
    ("unix-socket", "DFLOCKD_UNIX_SOCKET", "", "/tmp/x.sock", ["x" * 108]),
    ("unix-socket-mode", "DFLOCKD_UNIX_SOCKET_MODE", "0660", "0600", ["8", "01000", "rw"]),
    ("user", "DFLOCKD_USER", "", "nobody", []),
    ("group", "DFLOCKD_GROUP", "", "nogroup", []),
    ("run-dir", "DFLOCKD_RUN_DIR", "", "/tmp/x", []),
    ("workers", "DFLOCKD_WORKERS", None, "3", ["0", "65", "x"]),
    ("default-lease-ttl", "DFLOCKD_DEFAULT_LEASE_TTL_S", "33", "40", ["0", "-1", "9223372037"]),
    ("max-lease-ttl", "DFLOCKD_MAX_LEASE_TTL_S", "0", "100", ["-1", "x"]),
    ("lease-sweep-interval", "DFLOCKD_LEASE_SWEEP_INTERVAL_S", "1", "2", ["0", "x"]),
    ("gc-interval", "DFLOCKD_GC_INTERVAL_S", "5", "6", ["0", "x"]),
    ("gc-max-idle", "DFLOCKD_GC_MAX_IDLE_S", "60", "0", ["-1", "x"]),
    ("auto-release-on-disconnect", "DFLOCKD_AUTO_RELEASE_ON_DISCONNECT", "true", "false",
     ["2", "maybe"]),
    ("max-locks", "DFLOCKD_MAX_LOCKS", "1024", "5", ["0", "-5", "x", "99999999999999999999"]),
    ("max-connections", "DFLOCKD_MAX_CONNECTIONS", "0", "7", ["-1", "x"]),
    ("max-connections-per-ip", "DFLOCKD_MAX_CONNECTIONS_PER_IP", "0", "8", ["-1", "x"]),
    ("max-waiters", "DFLOCKD_MAX_WAITERS", "0", "9", ["-1", "x"]),
    ("read-timeout", "DFLOCKD_READ_TIMEOUT_S", "23", "24", ["0", "x"]),
    ("write-timeout", "DFLOCKD_WRITE_TIMEOUT_S", "5", "0", ["-1", "x"]),
    ("shutdown-timeout", "DFLOCKD_SHUTDOWN_TIMEOUT_S", "30", "0", ["-1", "x"]),
    ("auth-token", "DFLOCKD_AUTH_TOKEN", "", "s3cret", [" ", "a\nb", "a\rb"]),
    ("auth-token-file", "DFLOCKD_AUTH_TOKEN_FILE", "", None, ["/nonexistent/file"]),
    ("admin-token-file", "DFLOCKD_ADMIN_TOKEN_FILE", "", None, ["/nonexistent/file"]),
    ("fence-state-file", "DFLOCKD_FENCE_STATE_FILE", "", "/tmp/x", []),
    ("cold-start-delay", "DFLOCKD_COLD_START_DELAY_S", "120", "0", ["-1", "x"]),
    ("http-port", "DFLOCKD_HTTP_PORT", "0", "auto", ["-1", "65536", "any"]),
    ("http-host", "DFLOCKD_HTTP_HOST", "127.0.0.1", "::1,localhost", ["a b", "a,"]),
    ("http-session-idle-timeout", "DFLOCKD_HTTP_SESSION_IDLE_S", "20", "0", ["-1", "x"]),
    ("http-max-sessions", "DFLOCKD_HTTP_MAX_SESSIONS", "0", "7", ["-1", "x", "1048577"]),
    ("http-max-sessions-per-ip", "DFLOCKD_HTTP_MAX_SESSIONS_PER_IP", "0", "7", ["-1", "x"]),
    ("http-max-connections-per-ip", "DFLOCKD_HTTP_MAX_CONNECTIONS_PER_IP", "0", "7", ["-1", "x"]),
    ("http-rate-limit-per-ip", "DFLOCKD_HTTP_RATE_LIMIT_PER_IP", "0", "7", ["-1", "x"]),
    ("http-rate-limit-burst", "DFLOCKD_HTTP_RATE_LIMIT_BURST", "0", "7", ["-1", "x"]),
    ("http-cors-allowed-origins", "DFLOCKD_HTTP_CORS_ALLOWED_ORIGINS", "", "https://a.example",
     ["foo", "https://a.example/", "https://A.example", "null", "https://a.example:443"]),
    ("log-level", "DFLOCKD_LOG_LEVEL", "info", "warn", ["loud"]),
    ("debug", "DFLOCKD_DEBUG", "false", "true", ["2"]),
    ("log-format", "DFLOCKD_LOG_FORMAT", "text", "json", ["xml"]),
    ("config", "DFLOCKD_CONFIG", "", "/dev/null", ["/nonexistent/file", "/tmp"]),
]
SETTINGS = [s for s in SETTINGS if s[0].split("-")[0] not in left_out()]
SECRETS = ("auth-token",)
# tls_config_test.py
TLS = {"tls_cert", "tls_key", "tls_client_ca"} if "tls" not in left_out() else set()


def run(*args, env=None, prefix=(), timeout=60):
    """Runs dflockd to its end: (exit code, stdout, lines of stderr)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    if not {"-T", "-t"} & set(args):  # those that only ask have nothing to do with other servers
        clean["DFLOCKD_RUN_DIR"] = os.path.join(temp_dir(), "run")
    clean.update(env or {})
    p = subprocess.run([*prefix, os.environ["DFLOCKD"], *args], env=clean, text=True,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    return p.returncode, p.stdout, p.stderr.splitlines()


def dump(*args, env=None):
    """{key: (value, origin)} of -T"""
    code, out, err = run(*args, "-T", env=env)
    check_eq(code, 0, f"the exit status of -T, which said {err}")
    lines = [re.fullmatch(r"(\w+) = (.*?) *# from (.*)", x) for x in out.splitlines()]
    check(all(lines), f"lines 'key = value # from origin': {out}")
    return {m[1]: (m[2].rstrip(), m[3]) for m in lines}


def shown(flag, value):
    return "(set)" if flag in SECRETS else value


@test("every setting: flag, variable and default, and -T says which one won",
      rules=["C1", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11", "C12", "C13", "C14", "C15",
             "C16", "C17", "C18", "C19", "C20", "C21", "C22", "C23", "C24", "C25", "C27"],
      deadline=240)
def every_setting():
    defaults = dump()
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("filetoken\n")
        f.flush()

        def one(setting):
            flag, variable, default, other, _ = setting
            key = flag.replace("-", "_")
            if default is not None:
                check_eq(defaults.get(key), (default, "default"), key)
            other = other or f.name
            want = shown(flag, other)
            check_eq(dump(f"--{flag}={other}")[key], (want, f"--{flag}"), f"--{flag}={other}")
            check_eq(dump(env={variable: other})[key], (want, variable), variable)
            check_eq(dump(env={variable: ""})[key], defaults[key], f"{variable} empty")
            if default:
                value, origin = dump(f"--{flag}={other}", env={variable: default})[key]
                check_eq(value, default, f"{variable} over --{flag}")
                check(origin.startswith(variable) and f"over --{flag}" in origin, origin)

        in_threads(one, SETTINGS)
        check_eq(set(defaults), {s[0].replace("-", "_") for s in SETTINGS} | TLS |
                 {"discard_region"}, "all settings")
        check_eq(int(defaults["workers"][0]), len(os.sched_getaffinity(0)), "workers")


@test("every setting from a file: -T names its line, a flag and a variable win over it",
      rules=["C36", "C37", "C38"], deadline=240)
def every_setting_in_a_file():
    tokens, d = temp_file("filetoken\n"), temp_dir()
    settings = [(f.replace("-", "_"), f, v, o or tokens) for f, v, _, o, _ in SETTINGS
                if f != "config"]
    with open(f"{d}/conf", "w") as f:
        f.write("# all of them\n\n" + "".join(f"{k} = {o}   # so\n" for k, _, _, o in settings
                                              if k != "auth_token"))
        f.write("include d/*.conf\n")
    os.mkdir(f"{d}/d")
    with open(f"{d}/d/secret.conf", "w") as f:
        f.write("auth_token = s3cret\n")
    for args, env in ((["--config", f"{d}/conf"], {}), ([], {"DFLOCKD_CONFIG": f"{d}/conf"})):
        got = dump(*args, env=env)
        with open(f"{d}/conf") as f:
            for number, line in enumerate(f, 1):
                m = re.match(r"(\w+) = (\S+)", line)
                if m:
                    value, origin = got[m[1]]
                    check_eq(value, m[2], m[1])
                    check(origin.startswith(f"{d}/conf:{number}"), origin)
        check_eq(got["auth_token"], ("(set)", f"{d}/d/secret.conf:1"), "the included file's")

    def over(setting):
        key, flag, variable, other = setting
        value, origin = dump("--config", f"{d}/conf", f"--{flag}={other}")[key]
        check(origin.startswith(f"--{flag}, over {d}/"), origin)
        value, origin = dump("--config", f"{d}/conf", env={variable: other})[key]
        check(origin.startswith(f"{variable}, over {d}/"), origin)

    in_threads(over, settings)


@test("errors of files: all at once, each with its file and line", rules=["C39", "C36"], deadline=120)
def file_errors():
    d = temp_dir()
    with open(f"{d}/conf", "w") as f:
        f.write("port = abc\nmax_lock = 5\n[section]\ninclude more\nno value\nhelp = 1\n"
                "debug = on\ndebug = off\n")
    with open(f"{d}/more", "w") as f:
        f.write("workers = 99\ninclude conf\ninclude missing\n")
    for flag in ([], ["-t"], ["-T"]):
        code, out, err = run("--config", f"{d}/conf", "--max-waiters=x", *flag)
        check_eq((code, out), (78, ""), flag)
        for text in (f"{d}/conf:1: port: 'abc' is not a number",
                     f"{d}/conf:2: unknown key 'max_lock' (did you mean 'max_locks'?)",
                     f"{d}/conf:3: ", f"{d}/conf:5: ", f"{d}/conf:6: ",
                     f"{d}/conf:8: debug is set in line 7 already",
                     f"{d}/more:1: workers: 99 is out of range", f"{d}/more:2: ",
                     f"{d}/more:3: {d}/missing: No such file or directory",
                     "--max-waiters: 'x' is not a number"):
            check_eq(sum(x.startswith(f"dflockd: {text}") for x in err), 1, f"{text} in {err}")
        check_eq(len(err), 10, f"lines of {err}")
    for path in ("/nonexistent/file", d):
        code, out, err = run("--config", path)
        check_eq((code, out, len(err)), (78, "", 1), path)
        check(err[0].startswith(f"dflockd: --config: {path}: "), err[0])


@test("a server is configured by a file, and warns of secrets that everybody may read",
      rules=["C36", "C37", "C40"])
def server_with_file():
    d = temp_dir()
    for mode in (0o644, 0o640):
        for name, text in (("tokens", "one\ntwo\n"),
                           ("conf", f"max_locks = 1\nauth_token_file = {d}/tokens\n")):
            with open(f"{d}/{name}", "w") as f:
                f.write(text)
            os.chmod(f"{d}/{name}", mode)
        with Server(["--config", f"{d}/conf"]) as server:
            c = server.client()
            check_eq(c.req("auth", "", "two"), "ok", "auth")
            token_of(c.req("l", "a", "0"))
            check_eq(c.req("l", "b", "0"), "error_max_locks", "the limit of the file")
            warned = server.logged(f"warn .*{d}/conf:2.*{d}/tokens.*chmod")
            check_eq(len(warned), int(mode == 0o644), f"warnings at mode {mode:o}")


@test("both spellings, one dash, booleans", rules=["C2", "C3"], deadline=240)
def spellings():
    for args in (["--port", "7000"], ["--port=7000"], ["-port", "7000"], ["-port=7000"]):
        check_eq(dump(*args)["port"], ("7000", "--port"), args)
    name = "auto-release-on-disconnect"
    for args, value in ((["--" + name], "true"), ([f"--{name}=false"], "false"),
                        ([f"--no-{name}"], "false"), ([f"-no-{name}"], "false"),
                        ([f"-{name}=0"], "false"), ([f"--no-{name}", f"--{name}"], "true")):
        check_eq(dump(*args)[name.replace("-", "_")][0], value, args)

    def boolean(case):
        text, value = case
        check_eq(dump(f"--debug={text}")["debug"][0], value, text)
        check_eq(dump(env={"DFLOCKD_DEBUG": text})["debug"][0], value, text)

    words = [(w, "true") for w in ("1", "true", "yes", "on")]
    words += [(w, "false") for w in ("0", "false", "no", "off")]
    in_threads(boolean, words + [(w.upper(), v) for w, v in words] + [("Yes", "true")])
    check_eq(run("--no-port", "-t")[0], 78, "--no- of what is no boolean")
    check_eq(run("--port", "-t")[0], 78, "a flag without its value")


@test("a bad value anywhere refuses the start, with its origin and exit code 78",
      rules=["C29", "C30", "C20", "C21", "C22"], deadline=240)
def bad_values():
    def one(case):
        flag, variable, bad = case
        for origin, args, env in ((f"--{flag}", [f"--{flag}={bad}"], {}),
                                  (variable, [], {variable: bad})):
            code, out, err = run(*args, env=env)
            check_eq((code, out), (78, ""), f"{origin} {bad!r}, which said {err}")
            check_eq(len(err), 1, f"lines for {origin} {bad!r}: {err}")
            check(err[0].startswith(f"dflockd: {origin}: "), err[0])
            check(flag not in SECRETS or bad.strip() in ("", "a") or bad not in err[0], err[0])

    in_threads(one, [(s[0], s[1], bad) for s in SETTINGS for bad in s[4]])
    for args, text in ((["--port", "abc"], "dflockd: --port: 'abc' is not a number"),
                       (["--max-lock", "5"], "did you mean '--max-locks'?"),
                       (["leftover"], "dflockd: unexpected argument 'leftover'"),
                       (["--port", "1", "2"], "dflockd: unexpected argument '2'"),
                       (["--nonsense"], "dflockd: unknown option '--nonsense'"),
                       (["--port="], "dflockd: --port: ")):
        code, out, err = run(*args)
        check_eq((code, out, len(err)), (78, "", 1), args)
        check(text in err[0], err[0])
    check(run("--max-lease-ttl", "5", "--default-lease-ttl", "6")[0] == 78, "default above max")


@test("all errors are said at once; -t says them too and starts nothing", rules=["C29", "C26"], deadline=120)
def several_errors():
    for check_only in ([], ["-t"], ["--check-config"], ["-T"]):
        code, out, err = run("--workers", "99", "--nonsense", "word", "--port=70000", *check_only,
                             env={"DFLOCKD_MAX_LOCKS": "many", "DFLOCKD_DEBUG": "2"})
        check_eq((code, out), (78, ""), check_only)
        for what in ("--workers: 99", "--nonsense", "DFLOCKD_MAX_LOCKS: 'many' is not a number",
                     "--port: 70000", "DFLOCKD_DEBUG"):
            check(any(what in x for x in err), f"{what} in {err}")
        check(all(x.startswith("dflockd: ") for x in err), err)
    for flag in ("-t", "--check-config"):
        code, out, err = run(flag, "--port", "7000")
        check_eq((code, err), (0, []), "a good configuration")


@test("--version and --help", rules=["C28"])
def version_and_help():
    for flag in ("-V", "--version"):
        code, out, err = run(flag, "--port=abc")
        check_eq((code, err), (0, []), flag)
        check(re.match(r"dflockd \d+\.\d+\.\d+\nbuilt with: OpenSSL 3\.\S+, glibc 2\.\d+", out), out)
        check_eq("libevent 2." in out, "http" not in left_out(), out)
    for flag in ("-h", "--help"):
        code, out, err = run(flag)
        check_eq((code, err), (0, []), flag)
        for s in SETTINGS:
            check(f"--{s[0]}" in out and s[1] in out, f"{s[0]} in the help")


@test("secrets: which one wins, files, rotation, and nowhere to be seen",
      rules=["C20", "C21", "C22", "C27", "C32"], deadline=120)
def secrets():
    with tempfile.TemporaryDirectory() as d:
        def path(name, text):
            with open(f"{d}/{name}", "w") as f:
                f.write(text)
            return f"{d}/{name}"

        one, two = path("one", "fileA\n\n  fileB \n"), path("two", "fileC\n")
        ways = [(["--auth-token-file", one], {}, "fileA"),
                (["--auth-token-file", one], {}, "fileB"),
                (["--auth-token", "flag", "--auth-token-file", one], {}, "flag"),
                (["--auth-token", "flag"], {"DFLOCKD_AUTH_TOKEN_FILE": two}, "fileC"),
                (["--auth-token", "flag", "--auth-token-file", one],
                 {"DFLOCKD_AUTH_TOKEN": "env", "DFLOCKD_AUTH_TOKEN_FILE": two}, "env"),
                ([], {"DFLOCKD_AUTH_TOKEN": " padded "}, "padded")]

        def way(case):
            args, env, token = case
            with Server(args, env=env) as server:
                check_eq(server.client().req("auth", "", token), "ok", f"auth {case}")
                for wrong in {"fileA", "fileB", "fileC", "flag", "env", "padded", ""} - {token}:
                    if not (wrong in ("fileA", "fileB") and token in ("fileA", "fileB")):
                        check_eq(server.client().req("auth", "", wrong), "error_auth", wrong)
                with open(f"/proc/{server.pid}/cmdline", "rb") as f:
                    check(b"flag" not in f.read().split(b"\0"), "the process list")
                for line in server.log:
                    check(not re.search(r"file[ABC]|=flag|\benv\b|padded", line), line)
                check_eq(bool(server.logged("warn .*--auth-token: ")), "flag" in args, "warning")

        in_threads(way, ways)
        for bad in (path("empty", ""), path("blank", " \n\n"), d, path("nul", "")):
            for flag in ("--auth-token-file", "--admin-token-file"):
                code, _, err = run(flag, bad)
                check_eq(code, 78, f"{flag} {bad}: {err}")
                check(err[0].startswith(f"dflockd: {flag}: "), err[0])
        shown_all = str(dump("--auth-token", "flag", env={"DFLOCKD_AUTH_TOKEN": "hush"}))
        check("hush" not in shown_all and "'flag'" not in shown_all, "-T hides tokens")


@test("older variable names work, with one warning; the newer name wins",
      rules=["C31", "C11", "C12"])
def older_names():
    for older, newer, key in (("DFLOCKD_GC_LOOP_SLEEP", "DFLOCKD_GC_INTERVAL_S", "gc_interval"),
                              ("DFLOCKD_GC_MAX_UNUSED_TIME", "DFLOCKD_GC_MAX_IDLE_S",
                               "gc_max_idle")):
        check_eq(dump(env={older: "7"})[key], ("7", older), older)
        check_eq(dump("--" + key.replace("_", "-") + "=9", env={older: "7"})[key][0], "7", older)
        check_eq(dump(env={older: "7", newer: "8"})[key][0], "8", "the newer one")
        with Server(env={older: "7"}) as server:
            check_eq(len(server.logged(f"warn .*{older}")), 1, "warnings")


@test("--port in use: exit code 1, and a clear message", rules=["C5", "C30"], deadline=240)
def port_in_use():
    with Server() as server:
        code, out, err = run("--port", str(server.port))
        check_eq((code, out), (1, ""), "exit code and stdout")
        text = "\n".join(err)
        check(f"127.0.0.1 port {server.port}" in text and "Address already in use" in text, text)
        check_eq(server.client().req("ping"), "ok", "the first server")
    code, _, err = run("--port", "0", "--host", "192.0.2.1")
    check_eq(code, 1, f"an address that is not here: {err}")
    code, _, err = run("--port", "0", "--host", "no-such-host.invalid", timeout=120)
    check_eq(code, 1, f"a name that is not there: {err}")
    check("no-such-host.invalid" in err[-1], err[-1])


@test("--host binds a list of IPv4, IPv6 and names; the log says what is bound", rules=["C4", "C33"])
def hosts():
    with Server(["--host", "127.0.0.1, [::1],127.0.0.33"]) as server:
        for host in ("127.0.0.1", "::1", "127.0.0.33"):
            with Client((host, server.port)) as c:
                check_eq(c.req("ping"), "ok", host)
        bound = " ".join(server.logged(" listening "))
        for text in ("127.0.0.1", "[::1]", "127.0.0.33"):
            check(f"address={text}:{server.port}" in bound, bound)
        check(not server.logged("served without TLS"), "loopback needs no warning")
    with Server(["--host", "localhost"]) as server:
        with Client(("localhost", server.port)) as c:
            check_eq(c.req("ping"), "ok", "localhost")
    with Server(["--host", "0.0.0.0"]) as server:
        check_eq(server.client().req("ping"), "ok", "all addresses")
        for text in ("without TLS", "--auth-token-file", "--max-connections-per-ip"):
            eventually(lambda: server.logged(" warn .*" + text), text=f"a warning about {text}")
    with Server(["--host", "0.0.0.0,::", "--max-connections-per-ip", "1"]) as server:
        with Client(("127.0.0.1", server.port)) as c, Client(("::1", server.port)) as d:
            check_eq((c.req("ping"), d.req("ping")), ("ok", "ok"), "one of each address")


@test("the log says what starts, one event a line; in JSON too", rules=["C33", "C32", "C25", "C24"])
def log():
    import json
    with Server(["--log-level", "debug"]) as server:
        server.client().req("bad\x01\"command", "key\x7f=\"", "")
        first = server.log[0]
        for text in ("version=", "workers=2", "tls=off", "auth=off", "max_locks=1024"):
            check(text in first, first)
        bad = server.wait_log("bad request").string
        check(bad.isprintable(), repr(bad))
    env = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    p = subprocess.Popen([os.environ["DFLOCKD"], "--port", "0", "--log-format=json", "--debug",
                          "--run-dir", temp_dir()],
                         env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    lines = []
    while not lines or lines[-1]["msg"] != "listening":
        lines.append(json.loads(p.stderr.readline()))
    p.terminate()
    lines += [json.loads(x) for x in p.stderr]
    check_eq(p.wait(30), 0, "the exit code")
    check(all("level" in x and "time" in x for x in lines), str(lines[0]))
    with Server(["--log-level", "info"]) as server:
        c = server.client()
        for _ in range(100):
            check_eq(c.req("evict", "k", "lock"), "error", "evict")
        check(len(server.logged("evict refused")) < 40, "lines of one message are limited")


@test("log lines of one message are rate-limited, with a count of what was left out", rules=["C35"])
def log_rate():
    with Server(["--max-connections", "1"]) as server:
        a = server.client()
        check_eq(a.req("ping"), "ok", "ping")
        for _ in range(60):
            server.client().expect_close(20)
        lines = server.logged("connection refused")
        check(10 <= len(lines) <= 40, f"{len(lines)} lines")
        time.sleep(1.1)
        server.client().expect_close(20)
        eventually(lambda: server.logged("connection refused.*suppressed=[1-9]"), text="the count")


@test("--unix-socket: mode, protocol, secret; stale sockets are taken over, others refused",
      rules=["C6"])
def unix_socket():
    with tempfile.TemporaryDirectory() as d:
        path = f"{d}/sock"
        with Server(["--unix-socket", path, "--max-connections-per-ip", "1"]) as server:
            check_eq(stat.S_IMODE(os.stat(path).st_mode), 0o660, "the mode")
            clients = [Client(server, unix=path) for _ in range(5)]
            token = token_of(clients[0].req("l", "k", "0"))
            check_eq(clients[1].req("l", "k", "0"), "timeout", "one table")
            clients[1].ask("l", "k", "10")
            check_eq(server.client().req("r", "k", token), "ok", "a release by TCP")
            token_of(clients[1].line())
            # The last two may not have been accepted yet.
            eventually(lambda: json_of(clients[2].req("stats"))["connections"] == 6, 20, "six connections")
            code, _, err = run("--port", "0", "--unix-socket", path)
            check_eq(code, 1, "a socket that is served")
            check(path in err[-1] and "in use" in err[-1], err[-1])
            check_eq(clients[3].req("ping"), "ok", "it is still served")
        check(not os.path.exists(path), "it is removed at the end")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
        with Server(["--unix-socket", path, "--unix-socket-mode", "0600",
                     "--auth-token", "t"]) as server:
            check_eq(stat.S_IMODE(os.stat(path).st_mode), 0o600, "the mode")
            check_eq(Client(server, unix=path).req("ping"), "error_auth", "without the secret")
            check_eq(Client(server, unix=path).req("auth", "", "t"), "ok", "with it")
        with open(path, "w") as f:
            f.write("data")
        code, _, err = run("--port", "0", "--unix-socket", path)
        check_eq(code, 1, "a file that is no socket")
        check("not a socket" in err[-1], err[-1])
        with open(path) as f:
            check_eq(f.read(), "data", "the file")
        check_eq(run("--port", "0", "--unix-socket", f"{d}/no/dir")[0], 1, "no directory")


def limited(**limits):
    """A prefix that runs a command with these ulimits."""
    flags = {"nofile": "-n", "fsize": "-f"}
    sets = "; ".join(f"ulimit {flags[k]} {v}" for k, v in limits.items())
    return ["sh", "-c", f'{sets}; exec "$@"', "sh"]


@test("more memory than there is: exit code 1, the size and the setting are named",
      rules=["C13", "C30"])
def no_memory():
    for count in ("4000000000", "2000000000"):  # more than a region can hold
        code, _, err = run("--port", "0", "--max-locks", count)
        check_eq(code, 78, str(err))
        check(f"--max-locks: {count}" in err[-1], err[-1])
    # A file may not grow beyond a limit, and the table is one in memory. (A limit of the address
    # space would do too, but programs under a sanitizer do not start with one.)
    code, _, err = run("--port", "0", prefix=limited(fsize=1000))
    check_eq(code, 1, str(err))
    check(re.search(r"no memory .*\d{8,} bytes.*--max-locks 1024", err[-1]), err[-1])


@test("a low descriptor limit: a clear refusal, or service up to what it allows",
      rules=["C34", "C14", "S53"], deadline=120)
def low_descriptors():
    code, _, err = run("--port", "0", prefix=limited(nofile=30))
    check_eq(code, 1, str(err))
    check("limit of 30 open files" in err[-1], err[-1])
    server = subprocess.Popen(limited(nofile=150) + [os.environ["DFLOCKD"], "--port", "0",
                                                    "--workers", "2", "--run-dir", temp_dir()], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    clients = []
    try:
        most = int(re.search(r"max_connections=(\d+)", server.stderr.readline())[1])
        check(10 < most < 80, f"{most} connections allowed")
        line = ""
        while " listening " not in line:
            line = server.stderr.readline()
        port = int(line.rsplit(":", 1)[1])

        def served():
            c = Client(("127.0.0.1", port))
            clients.append(c)
            try:
                c.ask("ping")
            except OSError:
                return None
            while not c.buffer and not c.is_closed():
                time.sleep(0.001)
            return c if c.buffer and c.line() == "ok" else None

        first = [served() for _ in range(most)]
        check(all(first), "all that are allowed are served")
        check(not any(served() for _ in range(30)), "more are refused")
        check(all(c.req("ping") == "ok" for c in first), "the server lives")
        for c in first[::2]:
            c.close()
        left = first[1::2]
        eventually(lambda: json_of(left[0].req("stats"))["connections"] == len(left),
                   20, "their ends are seen")
        check(all(served() for _ in first[::2]), "as many are accepted again")
        for c in clients:
            c.close()
        server.terminate()
        check_eq(server.wait(30), 0, "the exit status")
    finally:
        server.kill()
        server.wait()


@test("exit code 0 after a clean end", rules=["C30", "C5"])
def clean_end():
    with Server(["--port", "0"]) as server:
        check(server.port > 0, "a port was chosen, and the log says which")
        check_eq(server.client().req("ping"), "ok", "ping")


if __name__ == "__main__":
    main(jobs=8)
