"""manual_test.py - the programs in the manual pages of section 3 do what the pages say: each literal
display of EXAMPLES with a main() is compiled as it stands, run against real servers, and prints the
display that follows it. tests/lint/manual_test.py holds the pages against the header."""

import glob
import os
import re

from certs import authority, in_file, server_certificate, text_of
from harness import Server, check, main, temp_dir, test
from programs import compiled, ran, top
from said import compare

# What a program needs besides a server that listens where it connects to: by page and number.
NEEDS = {
    ("dflock_options_new", 1): {"args": ["--auth-token", "my-secret-token"],
                                "at": ["10.0.0.1:6388", "10.0.0.2:6388"]},
    ("dflock_options_new", 2): {"tls": True},
    ("dflock_shard_crc32", 1): {"at": []},
    ("dflock_error_text", 1): {"at": []},
    ("dflock_dial", 1): {"args": ["--auth-token", "my-secret-token"]},
    ("dflock_conn_stats", 1): {"args": ["--auth-token", "x", "--admin-token-file",
                                        lambda: in_file("admin", b"my-admin-token\n")]},
}


def displays(page):
    """The literal displays of EXAMPLES, as a reader sees them."""
    with open(page, encoding="utf-8") as f:
        text = re.search(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh|\Z)", f.read(), re.M | re.S)[1]
    return [x.replace("\\e", "\\").replace("\\&", "") for x in
            re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", text, re.M | re.S)]


def programs():
    """[(page, number, text, what it prints)]"""
    found = []
    for path in sorted(glob.glob(os.path.join(top, "docs/man/*.3"))):
        shown, number = displays(path), 0
        for i, text in enumerate(shown):
            if re.search(r"^int main\(", text, re.M):
                number += 1
                prints = shown[i + 1] if i + 1 < len(shown) else ""
                found.append((os.path.basename(path)[:-2], number, text, prints))
    return found


def run(page, number, text, prints):
    needs = NEEDS.get((page, number), {})
    args = [x() if callable(x) else x for x in needs.get("args", [])]
    cwd = temp_dir()
    if needs.get("tls"):
        ca, other = authority(), authority("clients")
        client = other.issue("client")
        for name, path in (("ca.pem", ca.cert), ("client.pem", client.cert),
                           ("client.key", client.key)):
            with open(os.path.join(cwd, name), "wb") as f:
                f.write(text_of(path))
        with open(os.path.join(cwd, "secret"), "w", encoding="utf-8") as f:
            f.write("the secret\n")
        args += server_certificate().args + ["--tls-client-ca", other.cert, "--auth-token",
                                             "the secret"]
    program = compiled(text, f"{page}_{number}")
    servers = {}
    try:
        for address in needs.get("at", ["127.0.0.1:6388"]):
            # A worker that a busy machine does not let run is replaced; nobody notices.
            servers[address] = Server(args, expect_log=["worker hangs", "worker died"]).start()
        compare(ran(program, servers, cwd=cwd), prints.splitlines())
    finally:
        for server in servers.values():
            server.stop()


for found in programs():
    @test(f"{found[0]}(3): program {found[1]} compiles and prints what the page says", rules=["X5"],
          deadline=120, needs=["tls"] if NEEDS.get(found[:2], {}).get("tls") else [])
    def one(found=found):
        check(found[3], "no display with its output follows it")
        run(*found)


if __name__ == "__main__":
    # Now, and not while servers run: a machine that compiles beside them is slow.
    for page, number, text, _ in programs():
        compiled(text, f"{page}_{number}")
    main()
