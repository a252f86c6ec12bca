"""where_test.py - docs/rules.md: the options that say where the servers are, and their environment
variables, as dflockctl takes them; they are the same in all client programs."""

import os

from certs import authority
from ctl import address, column, ctl
from harness import Server, check, check_eq, main, temp_dir, temp_file, test, token_of

NOWHERE = "127.0.0.1:1"


def reached(*args, **kwargs):
    """Whether stats comes from the server."""
    r = ctl("stats", *args, **kwargs)
    check(r.status in (0, 69, 77), f"{args}: {r}")
    return r.status == 0


def refused(*args, says, env=None):
    """64, and the first line has all these."""
    r = ctl("stats", *args, env=env)
    check_eq(r.status, 64, f"{args} {env}: {r}")
    check_eq((r.out, len(r.err.splitlines())), ("", 2), f"{args} {env}: output")
    first, second = r.err.splitlines()
    check(first.startswith("dflockctl: ") and all(x in first for x in says), f"{args} {env}: {first}")
    check_eq(second, "dflockctl: try 'dflockctl --help'", "the second line")


@test("the servers come from the command line, or else from the environment", rules=["K1"])
def servers():
    path = os.path.join(temp_dir(), "socket")
    with Server(["--unix-socket", path]) as server, Server() as other:
        here, there = address(server), address(other)
        for args, env, want in [
                (["-s", here], {}, [here]),
                (["--servers", here], {}, [here]),
                ([f"--servers={there}"], {}, [there]),
                ([], {"DFLOCK_SERVERS": here}, [here]),
                (["-s", there], {"DFLOCK_SERVERS": here}, [there]),
                (["-s", f" {here} , {there} "], {}, [here, there]),
                ([], {"DFLOCK_SERVERS": f"{here},{there}"}, [here, there]),
                (["-s", NOWHERE, "-s", here], {}, [here]),
                (["-s", f"unix:{path}"], {}, [f"unix:{path}"]),
                (["--unix", path], {}, [f"unix:{path}"]),
                (["--unix", path], {"DFLOCK_SERVERS": NOWHERE}, [f"unix:{path}"]),
                ([], {"DFLOCK_SERVERS": f"unix:{path}"}, [f"unix:{path}"]),
                (["-s", f"{here},unix:{path}"], {}, [here, f"unix:{path}"])]:
            r = ctl("stats", *args, env=env, status=0)
            check_eq(sorted(column(r.out, "SERVER")), sorted(want), f"{args} {env}")


@test("without a server the one at 127.0.0.1:6388 is asked", rules=["K1"])
def default_server():
    for env in [{}, {"DFLOCK_SERVERS": ""}]:
        r = ctl("stats", env=env)
        if r.status == 0:
            check_eq(column(r.out, "SERVER"), ["127.0.0.1:6388"], "somebody serves there")
        else:
            check(r.status == 69 and r.err.startswith("dflockctl: 127.0.0.1:6388: "), f"{r}")


@test("a secret comes from a file, that the command line or the environment names",
      rules=["K1", "K3"])
def secrets():
    good, bad = temp_file(b"open sesame\nnot this\n"), temp_file(b"sesame\n")
    with Server(["--auth-token-file", temp_file(b"open sesame\n")],
                expect_log=["."]) as server:
        check(reached(server, "--auth-token-file", good), "a file")
        check(reached(server, env={"DFLOCK_AUTH_TOKEN_FILE": good}), "the environment's")
        check(reached(server, "--auth-token-file", good, env={"DFLOCK_AUTH_TOKEN_FILE": bad}),
              "the command line wins")
        for args in [[], ["--auth-token-file", bad]]:
            for command in [["ls"], ["stats"], ["ping"], ["top"], ["show", "k"],
                            ["evict", "k", "--yes"]]:
                r = ctl(*command, server, *args)
                check_eq(r.status, 77, f"{command} {args}: {r}")
                check(address(server) in r.err and "sesame" not in r.err, f"{r}")
        r = ctl("check", server, status=3)
        check("DFLOCK UNKNOWN" in r.out, f"{r}")


@test("TLS: authorities, names, client certificates, insecure only when asked", rules=["K1", "K3"], needs=["tls"])
def tls():
    ca, other = authority(), authority("other")
    cert, client = ca.issue("localhost"), ca.issue("client")
    with Server([*cert.args], expect_log=["."]) as server:
        named = f"localhost:{server.port}"
        check(not reached("-s", named), "no TLS at all")
        r = ctl("stats", "-s", named, "--tls", status=69)
        check("certificate" in r.err, f"an authority that the system does not know: {r}")
        check(reached("-s", named, "--tls-ca-file", ca.cert), "its authority")
        check(reached("-s", named, env={"DFLOCK_TLS_CA_FILE": ca.cert}), "the environment's")
        check(not reached("-s", named, "--tls-ca-file", other.cert), "another authority")
        check(reached("-s", named, "--tls-ca-file", ca.cert,
                      env={"DFLOCK_TLS_CA_FILE": other.cert}), "the command line wins")
        check(not reached(server, "--tls-ca-file", ca.cert, "--tls-server-name", "other.example"),
              "another name")
        check(reached(server, "--tls-ca-file", ca.cert, "--tls-server-name", "localhost"), "its name")
        check(reached(server, "--tls-ca-file", ca.cert, env={"DFLOCK_TLS_SERVER_NAME": "localhost"}),
              "the environment's")
        check(reached(server, "--tls-insecure"), "insecure")
        check(not reached(server, "--tls", env={"DFLOCK_TLS_INSECURE": "1"}),
              "insecure is not for the environment")
        check(not reached("-s", named, "--no-tls", env={"DFLOCK_TLS_CA_FILE": ca.cert}), "--no-tls")
        for no in ["0", "false", "NO", "off"]:
            check(not reached("-s", named, env={"DFLOCK_TLS": no, "DFLOCK_TLS_CA_FILE": ca.cert}), no)
            check(reached("-s", named, "--tls-ca-file", ca.cert, env={"DFLOCK_TLS": no}), no)
        for yes in ["1", "true", "YES", "on"]:
            check(reached("-s", named, env={"DFLOCK_TLS": yes, "DFLOCK_TLS_CA_FILE": ca.cert}), yes)
        check(reached("-s", named, env={"DFLOCK_TLS": "", "DFLOCK_TLS_CA_FILE": ca.cert}), "empty")
    with Server([*cert.args, "--tls-client-ca", ca.cert], expect_log=["."]) as server:
        to = ["-s", f"localhost:{server.port}", "--tls-ca-file", ca.cert]
        pair = ["--tls-client-cert", client.cert, "--tls-client-key", client.key]
        check(not reached(*to), "without a certificate")
        check(reached(*to, *pair), "with one")
        check(reached(*to, env={"DFLOCK_TLS_CLIENT_CERT": client.cert,
                                "DFLOCK_TLS_CLIENT_KEY": client.key}), "the environment's")
        token_of_tls = ctl("ls", *to, *pair, status=0)
        check_eq(token_of_tls.lines[1:], [], "nothing is held")
    with Server() as plain:
        check(reached(plain), "a server without TLS")
        check(not reached(plain, "--tls-insecure", "--connect-timeout", "5"), "is not asked with it")
        check(reached(plain, "--no-tls", env={"DFLOCK_TLS": "1"}), "--no-tls")


@test("what is wrong with an option or a variable is said, and nobody is asked", rules=["K2"], needs=["tls"])
def wrong():
    missing, empty = "/nonexistent/file", temp_file(b"")
    junk = temp_file(b"this is no certificate\n")
    ca = authority()
    cert = ca.issue("localhost")
    for name, args, env, says in [
            ("--servers", ["-s", ""], {}, []),
            ("--servers", ["-s", "a,,b"], {}, ["no host"]),
            ("--servers", ["-s", "a:99999"], {}, ["99999"]),
            ("--servers", ["-s", "a:x"], {}, ["x"]),
            ("DFLOCK_SERVERS", [], {"DFLOCK_SERVERS": "a:0x1"}, []),
            ("--unix", ["--unix", "/a,b"], {}, ["comma"]),
            ("--unix", ["--unix", "/a", "-s", NOWHERE], {}, ["--servers"]),
            ("--unix", ["--unix", "/" + "a" * 200], {}, []),
            ("DFLOCK_TLS", [], {"DFLOCK_TLS": "maybe"}, ["'maybe'", "true or false"]),
            ("--no-tls", ["--no-tls", "--tls"], {}, ["--tls"]),
            ("--no-tls", ["--no-tls", "--tls-insecure"], {}, ["--tls-insecure"]),
            ("--tls-ca-file", ["--tls-ca-file", missing], {}, [missing]),
            ("--tls-ca-file", ["--tls-ca-file", junk], {}, [junk]),
            ("DFLOCK_TLS_CA_FILE", [], {"DFLOCK_TLS_CA_FILE": missing}, [missing]),
            ("--tls-client-cert", ["--tls-client-cert", cert.cert], {}, ["--tls-client-key"]),
            ("--tls-client-key", ["--tls-client-key", cert.key], {}, ["--tls-client-cert"]),
            ("--tls-client-cert", ["--tls-client-cert", junk, "--tls-client-key", cert.key], {}, []),
            ("DFLOCK_TLS_CLIENT_CERT", [], {"DFLOCK_TLS_CLIENT_CERT": cert.cert}, []),
            ("--auth-token-file", ["--auth-token-file", missing], {}, [missing]),
            ("--auth-token-file", ["--auth-token-file", empty], {}, [empty]),
            ("DFLOCK_AUTH_TOKEN_FILE", [], {"DFLOCK_AUTH_TOKEN_FILE": empty}, [empty]),
            ("--connect-timeout", ["--connect-timeout", "0"], {}, []),
            ("--connect-timeout", ["--connect-timeout", "-1"], {}, ["'-1'"]),
            ("--connect-timeout", ["--connect-timeout", "1e3"], {}, ["'1e3'"]),
            ("--connect-timeout", ["--connect-timeout", "nan"], {}, ["'nan'"]),
            ("--connect-timeout", ["--connect-timeout", "99999999999"], {}, []),
            ("DFLOCK_CONNECT_TIMEOUT", [], {"DFLOCK_CONNECT_TIMEOUT": "soon"}, ["'soon'"]),
            ("--bogus", ["--bogus"], {}, []),
            ("--tls", ["--tls=yes"], {}, ["no value"]),
            ("--servers", ["--servers"], {}, ["missing"]),
            ("-s", ["-s"], {}, ["missing"]),
            ("-x", ["-x"], {}, [])]:
        refused(*args, env=env, says=[f"dflockctl: {name}", *says])
    for args, says in [([], "command"), (["list"], "'list'"), (["show"], "KEY"),
                       (["show", "a", "b"], "'b'"), (["ls", "a", "b"], "'b'"), (["top", "x"], "'x'"),
                       (["show", "a b"], "key"), (["show", ""], "key"), (["show", "k" * 257], "key"),
                       (["evict", "a\nb", "--yes"], "key"), (["ls", "a b"], "key"),
                       (["ls", "k" * 257], "key"),
                       (["ls", "--yes"], "--yes: not an option of ls"),
                       (["ping", "--json"], "--json: not an option of ping"),
                       (["ping", "-c", "0"], "'0'"), (["ping", "-c", "x"], "'x'"),
                       (["ping", "-i", "x"], "'x'"), (["top", "-i", "0"], "--interval"),
                       (["evict", "k", "--yes", "--fence", "x"], "'x'"),
                       (["evict", "k", "--yes", "--fence", "0"], "'0'"),
                       (["evict", "k", "--yes", "--sem", "--lock"], "--lock")]:
        r = ctl(*args, "-s", NOWHERE, status=64)
        first = r.err.splitlines()[0]
        check(first.startswith("dflockctl: ") and says in first and len(r.err.splitlines()) == 2,
              f"{args}: {r}")


@test("options stand anywhere; -- ends them; --help and --version need no server", rules=["K2"])
def anywhere():
    with Server() as server:
        token_of(server.client().req("l", "--key", "0"))
        for args in [["show", "-s", address(server), "--", "--key"],
                     ["-s", address(server), "show", "--", "--key"],
                     ["--json", "-s", address(server), "show", "--", "--key"]]:
            check("--key" in ctl(*args, status=0).out, f"{args}")
    check(ctl("--version", status=0).out.startswith("dflockctl "), "--version")
    for args in [["--help"], ["-h"], ["ls", "--help"], ["--help", "check"], ["--bogus", "--help"]]:
        r = ctl(*args, status=0)
        check("Usage: dflockctl" in r.out and "--servers LIST" in r.out and not r.err, f"{args}: {r}")
    check("--yes" not in ctl("ls", "--help").out and "--yes" in ctl("evict", "--help").out,
          "a command's help has its own options")


if __name__ == "__main__":
    main()
