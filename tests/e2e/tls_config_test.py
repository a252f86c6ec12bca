#!/usr/bin/env python3
"""tls_config_test.py - the files of TLS: what is refused, what is only warned of, and in which words."""

import os
import subprocess

from certs import Certificate, authority, client_context, in_file, openssl, server_certificate, text_of
from harness import Server, check, check_eq, in_threads, main, temp_dir, test


def run(*args, env=None):
    """(exit code, stdout, lines of stderr) of a server that ends by itself."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD_")}
    clean.update(env or {})
    p = subprocess.run([os.environ["DFLOCKD"], "--port", "0", *args], env=clean, text=True,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return p.returncode, p.stdout, p.stderr.splitlines()


def refused(cert, key, *errors, more=()):
    """Both by the start and by --check-config: exit 1, these errors and no others."""
    for check_only in ([], ["--check-config"]):
        code, out, err = run("--tls-cert", cert, "--tls-key", key, *more, *check_only)
        check_eq(code, 1, f"the exit status, after {err}")
        check_eq(out, "", "nothing on stdout")
        check_eq(err, [f"dflockd: {e}" for e in errors], "the errors")


@test("a file that cannot be used: exit 1, the file, what is wrong, what to do", rules=["T11", "C30"],
      deadline=90)
def unusable():
    good = server_certificate()
    other = authority("other").issue()
    chain = in_file("chain", text_of(other.cert) + text_of(good.cert))
    encrypted = os.path.join(temp_dir(), "encrypted")
    openssl("pkey", "-in", good.key, "-aes256", "-passout", "pass:x", "-out", encrypted)
    der = os.path.join(temp_dir(), "der")
    openssl("x509", "-in", good.cert, "-outform", "der", "-out", der)
    weak = Certificate(os.path.join(temp_dir(), "cert"), os.path.join(temp_dir(), "key"))
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", weak.key, "-out", weak.cert,
            "-subj", "/CN=weak")
    torn = in_file("torn", text_of(good.cert)[:300])
    mangled = in_file("mangled", text_of(good.cert).replace(b"\nMII", b"\nAII", 1))
    empty, junk = in_file("empty", b""), in_file("junk", b"hello\n")
    large = in_file("large", b"x" * 200000)
    own_cert = in_file("own", text_of(good.cert))
    bad_key = in_file("key", text_of(good.key).replace(b"\nMIG", b"\nAIG", 1))
    no_cert = "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    in_threads(lambda case: refused(*case), [
        ("/nonexistent", good.key, "--tls-cert: /nonexistent: No such file or directory"),
        (good.cert, "/nonexistent", "--tls-key: /nonexistent: No such file or directory"),
        ("/a", "/b", "--tls-cert: /a: No such file or directory",
         "--tls-key: /b: No such file or directory"),
        (empty, good.key, f"--tls-cert: {empty}: is empty"),
        (good.cert, empty, f"--tls-key: {empty}: is empty"),
        (good.cert, "/tmp", "--tls-key: /tmp: Is a directory"),
        (large, good.key, f"--tls-cert: {large}: File too large"),
        (junk, good.key, f"--tls-cert: {junk}: {no_cert}"),
        (der, good.key, f"--tls-cert: {der}: {no_cert}"),
        (good.key, good.key, f"--tls-cert: {good.key}: {no_cert}"),
        (good.cert, own_cert, f"--tls-key: {own_cert}: holds no private key in PEM form "
         "(-----BEGIN PRIVATE KEY-----)"),
        (good.cert, other.key, f"--tls-key: {other.key}: does not belong to the certificate: the two "
         "must be a pair"),
        (chain, good.key, f"--tls-key: {good.key}: belongs to certificate 2 of the chain: the "
         "server's own must be its first"),
        (good.cert, encrypted, f"--tls-key: {encrypted}: is encrypted, and nobody is there to type "
         "the passphrase: store it without one (openssl pkey -in FILE -out NEW)"),
        (weak.cert, weak.key, f"--tls-cert: {weak.cert}: is refused by OpenSSL: ee key too small"),
    ])
    for cert, key, text in ((torn, good.key, f"--tls-cert: {torn}: certificate 1 cannot be read: "),
                            (mangled, good.key, f"--tls-cert: {mangled}: certificate 1 cannot be read: "),
                            (good.cert, bad_key, f"--tls-key: {bad_key}: the private key cannot be "
                             "read: ")):
        code, out, err = run("--tls-cert", cert, "--tls-key", key)
        check_eq((code, out, len(err)), (1, "", 1), "one error")
        check(err[0].startswith(f"dflockd: {text}"), err)


@test("all that is wrong is said at once, named as it was given", rules=["T11", "C29"])
def at_once():
    good, junk = server_certificate(), in_file("junk", b"hello\n")
    no_ca = ("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): nobody could connect")
    refused(good.cert, junk, f"--tls-key: {junk}: holds no private key in PEM form "
            "(-----BEGIN PRIVATE KEY-----)", f"--tls-client-ca: {junk}: {no_ca}",
            more=["--tls-client-ca", junk])
    refused(good.cert, good.key, "--tls-client-ca: /x: No such file or directory",
            more=["--tls-client-ca", "/x"])
    code, out, err = run("--port", "x", "--tls-cert", good.cert,
                         env={"DFLOCKD_TLS_KEY": "/nonexistent"})
    check_eq(code, 78, "wrong settings weigh more")
    check_eq(set(err), {"dflockd: --port: 'x' is not a number",
                        "dflockd: DFLOCKD_TLS_KEY: /nonexistent: No such file or directory"}, "both")


@test("half a pair is wrong settings", rules=["T11"])
def half_a_pair():
    good = server_certificate()
    for args, env, text in [
            (["--tls-cert", good.cert], {}, "--tls-cert needs --tls-key"),
            (["--tls-key", good.key], {}, "--tls-key needs --tls-cert"),
            ([], {"DFLOCKD_TLS_CERT": good.cert}, "DFLOCKD_TLS_CERT needs DFLOCKD_TLS_KEY"),
            (["--tls-client-ca", good.cert], {}, "--tls-client-ca needs --tls-cert")]:
        code, _, err = run(*args, env=env)
        check_eq((code, err), (78, ["dflockd: " + text]), args)


def warnings(*args):
    code, out, err = run(*args, "--check-config")
    check_eq((code, out), (0, "dflockd: configuration ok\n"), f"the outcome, beside {err}")
    return err


@test("what is only unwise is a warning, and the server serves", rules=["T12"])
def unwise():
    ca, good = authority(), server_certificate()
    expired = ca.issue(days=-1)
    check_eq(warnings(*good.args), [], "nothing to say")
    said = warnings(*expired.args)
    check(len(said) == 1 and f"warning: --tls-cert: {expired.cert}: has expired on 20" in said[0] and
          "UTC, clients will refuse it: renew it" in said[0], said)
    # A certificate of tomorrow: what OpenSSL's ca command can date.
    at = temp_dir()
    for name, data in (("index", ""), ("serial", "01\n"), ("config", f"""
[ca]
default_ca = d
[d]
database = {at}/index
serial = {at}/serial
new_certs_dir = {at}
default_md = sha256
policy = p
[p]
commonName = supplied
""")):
        with open(os.path.join(at, name), "w") as f:
            f.write(data)
    request = os.path.join(at, "request")
    openssl("req", "-new", "-key", good.key, "-subj", "/CN=localhost", "-out", request)
    early = os.path.join(at, "early")
    openssl("ca", "-batch", "-config", f"{at}/config", "-cert", ca.cert, "-keyfile", ca.key, "-in",
            request, "-out", early, "-startdate", "21000101000000Z", "-enddate", "21010101000000Z",
            "-notext")
    check_eq(warnings("--tls-cert", early, "--tls-key", good.key),
             [f"dflockd: warning: --tls-cert: {early}: is not valid before 2100-01-01 00:00 UTC, "
              "clients will refuse it: is this machine's clock right?"], "too early")
    open_key = in_file("key", text_of(good.key))
    os.chmod(open_key, 0o604)
    said = warnings("--tls-cert", good.cert, "--tls-key", open_key)
    check_eq(said, [f"dflockd: warning: --tls-key: {open_key}: everybody on this machine may read it "
                    f"(chmod o= {open_key})"], "readable")
    bundle = in_file("bundle", text_of(ca.cert) + text_of(expired.cert))
    check_eq(warnings(*good.args, "--tls-client-ca", bundle),
             [f"dflockd: warning: --tls-client-ca: {bundle}: 1 of its 2 authorities have expired: "
              "their clients are refused"], "an expired authority")
    with Server(["--tls-cert", good.cert, "--tls-key", open_key]) as server:
        server.wait_log("warn configuration .*everybody on this machine may read it")
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "it serves")


@test("by variable too; -T shows them and reads no file; the hello says tls=on", rules=["T1", "C33"])
def settings():
    good = server_certificate()
    env = {"DFLOCKD_TLS_CERT": good.cert, "DFLOCKD_TLS_KEY": good.key,
           "DFLOCKD_TLS_CLIENT_CA": authority().cert}
    code, out, err = run("-T", "--tls-cert", "/a", "--tls-key", "/b", "--tls-client-ca", "/c", env=env)
    check_eq((code, err), (0, []), "no file is read")
    for key in ("cert", "key", "client_ca"):
        path = env[f"DFLOCKD_TLS_{key.upper()}"]
        check(f"tls_{key} = {path}   # from DFLOCKD_TLS_{key.upper()}, over --tls-" in out, out)
    code, out, err = run("-T", "--tls-cert", "/a", "--tls-key", "/b")
    check(code == 0 and "tls_cert = /a   # from --tls-cert\n" in out, (out, err))
    with Server(["--host", "0.0.0.0"], env={k: v for k, v in env.items() if "CA" not in k}) as server:
        check(server.logged(r"dflockd starts .* tls=on "), "tls=on")
        check(not server.logged("without TLS"), "no warning")
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "served")


@test("key and certificate may be one file, and neither is shown", rules=["T1", "C32"])
def one_file():
    good = server_certificate()
    both = in_file("both", text_of(good.key) + text_of(good.cert))
    with Server(["--tls-cert", both, "--tls-key", both, "--debug"]) as server:
        check_eq(server.client(tls=client_context()).req("ping"), "ok", "served")
        lines = text_of(good.key).decode().splitlines()[1:-1]
        check(not any(x in y for x in lines for y in server.log), "the key is in the log")


if __name__ == "__main__":
    main()
