"""completions_test.py - docs/rules.md: what bash completes is what --help says."""

import os
import re
import shutil
import subprocess

from ctl import Terminal, environment
from harness import check, check_eq, main, temp_dir, test

HERE = os.path.join(os.environ["top_srcdir"], "src/completions")
BUILT = os.path.join(os.environ["top_builddir"], "src")
# As built, by the names that they are installed under.
PROGRAMS = {"dflockd": "dflockd/dflockd", "dflock": "cli/dflock", "dflockctl": "ctl/dflockctl",
            "dflock-bench": "bench/dflock-bench"}

bin_dir = os.path.join(temp_dir(), "bin")
os.mkdir(bin_dir)
for name, path in PROGRAMS.items():
    os.symlink(os.path.join(BUILT, path), os.path.join(bin_dir, name))


def env():
    return environment({"PATH": f"{bin_dir}:{os.environ['PATH']}"})


def help_of(*words):
    return subprocess.run(words, env=env(), capture_output=True, check=True, text=True).stdout


def options_of(*words):
    """All that begin with a dash, of --help."""
    lines = re.findall(r"^  (-.*)$", help_of(*words, "--help"), re.M)
    return sorted(x for line in lines for x in re.findall(r"(?:^|(?<=[ ,]))--?[a-zA-Z][\w-]*", line))


def complete(*words, cwd="/"):
    """What bash offers for the last word, in the way that readline asks."""
    parts = [x for w in words for x in re.split(r"(=)", w) if x or w == ""]
    if parts[-1] == "=":
        parts.append("")
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
             '_dflock "$1" "${COMP_WORDS[COMP_CWORD]}" ""; printf "%s\\n" "${COMPREPLY[@]}"'
    p = subprocess.run(["bash", "--norc", "-c", script, "bash", os.path.join(HERE, words[0]), *parts],
                       env=env(), capture_output=True, text=True, cwd=cwd)
    check_eq((p.returncode, p.stderr), (0, ""), f"{words}")
    return sorted(p.stdout.split())


@test("each program's options are those of its --help", rules=["K16"])
def options():
    for name in PROGRAMS:
        want = options_of(name)
        check(len(want) > 5 and "--help" in want, f"{name}: {want}")
        check_eq(complete(name, "-"), want, f"{name} -")
        check_eq(complete(name, "--v"), [x for x in want if x.startswith("--v")], f"{name} --v")
        check_eq(complete(name, "--no-such-"), [], f"{name} --no-such-")


@test("dflockctl's commands, and the options of each", rules=["K16"])
def commands():
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", help_of("dflockctl", "--help"), re.M)[1]
    names = sorted(re.findall(r"^  (\w+)", listed, re.M))
    check_eq(names, ["check", "evict", "ls", "ping", "show", "stats", "top"], "--help")
    check_eq(complete("dflockctl", ""), names, "all")
    check_eq(complete("dflockctl", "-s", "host:1", "s"), ["show", "stats"], "behind an option")
    check_eq(complete("dflockctl", "--servers=host:1", "s"), ["show", "stats"], "with its value")
    for name in names:
        check_eq(complete("dflockctl", name, "--"),
                 [x for x in options_of("dflockctl", name) if x.startswith("--")], name)
        check_eq(complete("dflockctl", name, ""), [], f"nothing behind {name}")
    check("--yes" in complete("dflockctl", "evict", "-") and
          "--yes" not in complete("dflockctl", "ls", "-"), "only its own")
    check_eq(complete("dflockctl", "show", "--", "-"), [], "-- ends options")


@test("the manual page of each program has the options that --help has", rules=["K16"])
def manual():
    for name in set(PROGRAMS) - {"dflockd"}:  # whose page tests/lint/docs_test.py reads
        with open(os.path.join(os.environ["top_srcdir"], f"docs/man/{name}.1"), encoding="utf-8") as f:
            items = re.findall(r"^\.It (Fl .*)$", f.read(), re.M)
        said = {"-" + word for item in items for flags in re.findall(r"Fl (.*?)(?= Ar | Pq | Fl |$)", item)
                for word in flags.replace(",", " ").split()}
        check_eq(sorted(said - set(options_of(name))), [], f"{name}: only in the manual page")
        check_eq(sorted(set(options_of(name)) - said), [], f"{name}: missing from the manual page")


@test("values: files where a file is meant, words where there are some", rules=["K16"])
def values():
    at = temp_dir()
    for name in ["ca one.pem", "client.pem"]:
        open(os.path.join(at, name), "w").close()
    check_eq(complete("dflockctl", "--tls-ca-file", "cl", cwd=at), ["client.pem"], "a file")
    check_eq(complete("dflockctl", "--tls-ca-file=cl", cwd=at), ["client.pem"], "with =")
    check_eq(complete("dflockctl", "ls", "--tls-ca-file", "ca", cwd=at), ["ca", "one.pem"], "a blank")
    check_eq(complete("dflockctl", "-s", "c", cwd=at), [], "no file for a list of servers")
    check_eq(complete("dflockd", "--log-level", ""), ["debug", "error", "info", "warn"], "levels")
    check_eq(complete("dflockd", "--log-format=", ), ["json", "text"], "formats")
    check_eq(complete("dflockctl", "ls", "--json", "--y"), [], "an option of another command")


@test("behind dflock's key the command is completed as a command", rules=["K16"])
def command_of_dflock():
    check("true" in complete("dflock", "key", "tru"), "its name")
    check("true" in complete("dflock", "key", "--", "tru"), "behind --")
    path = os.path.join(temp_dir(), "argument")
    open(path, "w").close()
    check_eq(complete("dflock", "key", "cat", path[:-2]), [path], "its arguments")
    check_eq(complete("dflock", "ke"), [], "a key")


@test("an interactive bash completes, whichever of the four it has loaded", rules=["K16"])
def interactive():
    for loaded in PROGRAMS:
        source = os.path.join(HERE, loaded)
        with Terminal(["--norc", "--noprofile", "-i"], program="/bin/bash",
                      env={"PATH": f"{bin_dir}:{os.environ['PATH']}", "PS1": "$ "}) as t:
            t.press(f"bind 'set enable-bracketed-paste off'; . {source}; echo lo''aded\n")
            t.wait(lambda t: b"loaded" in t.raw, "loaded")
            t.press("dflockctl st\t")
            t.wait(lambda t: b"dflockctl stats " in t.raw, "a command")
            t.press("--js\t")
            t.wait(lambda t: b"dflockctl stats --json " in t.raw, "an option")
            t.press("\x15exit\n")
            t.ended()


if __name__ == "__main__":
    main()
