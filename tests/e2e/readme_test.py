"""e2e/readme_test.py - README.md does what it says: each block of code that is marked with `test`
(```bash test) is run by bash against a server of its own, and then all of them one after another in
one shell, as a reader would paste them; of C (```c test) it is compiled and run. A line "#> TEXT", or
"//> TEXT", is what the lines above it print, with the words of said.py. Blocks marked ```bash test http
are http_manual_test.py's."""

import os
import re
import subprocess

from harness import Server, check, check_eq, eventually, main, test
from programs import compiled, programs_path, ran
from said import compare

top = os.environ["top_srcdir"]
with open(os.path.join(top, "README.md"), encoding="utf-8") as f:
    readme = f.read()
blocks = [(readme[:m.start()].count("\n") + 1, m[1])
          for m in re.finditer(r"^```bash test\n(.*?)^```$", readme, re.M | re.S)]
programs = re.findall(r"^```c test\n(.*?)^```$", readme, re.M | re.S)


def wanted(block):
    return [x[3:] for x in block.splitlines() if x.startswith("#> ")]


def run(script, server):
    env = {k: v for k, v in os.environ.items() if not k.startswith("DFLOCKD")}
    env["MASTER"] = str(server.pid)
    env["PATH"] = programs_path()
    r = subprocess.run(["bash", "-c", script.replace("6388", str(server.port))], env=env,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=90, encoding="utf-8")
    check_eq(r.stderr, "", "what bash complains about")
    return r.stdout.splitlines()


def server_for(script):
    return Server(expect_log=["worker died"] if "kill -9" in script else [])


def run_and_compare(script):
    with server_for(script) as server:
        first = server.worker_pids()
        compare(run(script, server), wanted(script))
        if "kill -9" not in script:
            return
        # Every worker was killed, once, and another has taken over from it.
        eventually(lambda: len(server.logged("worker died")) >= len(first), 20, "deaths in the log")
        died = [int(re.search(r" pid=(\d+) .*signal=KILL ", x)[1])
                for x in server.logged("worker died")]
        check_eq(sorted(died), sorted(first), "workers that were killed")
        eventually(lambda: len(server.logged("took over")) == len(first), 20, "all are replaced")
        check(not set(first) & set(server.worker_pids()), "a worker has survived")


for line, block in blocks:
    @test(f"README.md line {line}: the block prints what it says", deadline=120)
    def one(block=block):
        run_and_compare(block)


@test("README.md: all blocks one after another in one shell", rules=["S57"], deadline=120)
def all_blocks():
    run_and_compare("".join(b for _, b in blocks))


@test("README.md: the program in C compiles as it stands, and prints what it says", rules=["X6"],
      deadline=120)
def program():
    for text in programs:
        path = compiled(text, "readme")
        with Server() as server:
            compare(ran(path, {"127.0.0.1:6388": server}),
                    [x[4:] for x in text.splitlines() if x.startswith("//> ")])
        check(len(re.findall(r"^[^/\n]", text.split("\n\n", 1)[1], re.M)) <= 10, "ten lines")


@test("README.md has blocks to run, and each says what it prints; one kills every worker")
def there_are_blocks():
    check_eq(sum("kill -9" in block for _, block in blocks), 1, "blocks that kill")
    check(len(blocks) >= 5, f"only {len(blocks)} blocks")
    for line, block in blocks:
        check(wanted(block), f"the block of line {line} says nothing")
    http = len(re.findall(r"^```bash test http$", readme, re.M))
    check_eq(len(re.findall(r"^```\w", readme, re.M)), len(blocks) + len(programs) + http,
             "blocks that are run")
    check(programs, "no program in C")


@test("./bootstrap without arguments says what it would do", deadline=120)
def bootstrap_alone():
    r = subprocess.run(["./bootstrap"], cwd=top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=90, encoding="utf-8")
    check_eq(r.returncode, 0, f"its exit status; it said {r.stdout}")
    for text in ("./bootstrap run", "./bootstrap check", "./bootstrap build"):
        check(text in r.stdout, f"'{text}' is not in: {r.stdout}")
    check_eq(r.stdout.splitlines()[-1], "bootstrap: ready", "its last line")


@test("./bootstrap with an unknown word refuses and shows the usage", deadline=120)
def bootstrap_unknown():
    r = subprocess.run(["./bootstrap", "no-such-word"], cwd=top, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90,
                       encoding="utf-8")
    check_eq(r.returncode, 2, "its exit status")
    check("usage: ./bootstrap" in r.stderr, f"usage expected, not {r.stderr}")


if __name__ == "__main__":
    main()
