"""library_test.py - what is installed: the header alone, the names that the library exports, programs,
manual and pkg-config, from a `make install` into a directory of the test's own."""

import glob
import os
import re
import shutil
import subprocess

from harness import Server, check, check_eq, main, temp_dir, temp_file, test
from programs import CC, LIBRARY, SANITIZE, environment, redirect, started, tool, top
from said import compare

build = os.environ["top_builddir"]
HEADER = os.path.join(top, "src/client/dflock.h")
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
COMPILERS = {"gcc": ["c99", "c11", "c17"], "clang": ["c99", "c11", "c17"],
             "g++": ["c++11", "c++14", "c++17", "c++20"],
             "clang++": ["c++11", "c++14", "c++17", "c++20"]}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def declared():
    text = re.sub(r"/\*.*?\*/", "", read(HEADER), flags=re.S)
    text = re.sub(r"^typedef [^;]*;|^#.*$", "", text, flags=re.M)
    return set(re.findall(r"\b(dflock_\w+)\(", text)) - {"dflock_shard_fn", "dflock_renew_error_fn"}


@test("dflock.h compiles alone, as C and as C++", rules=["X1"], deadline=180)
def header_alone():
    use = '#include "dflock.h"\n#include "dflock.h"\n%s int x;\n'
    for compiler, standards in COMPILERS.items():
        plus = compiler.endswith("++")
        for standard in standards:
            source = temp_file(use % ("" if plus else "extern"))
            tool([compiler, f"-std={standard}", *STRICT, "-I", os.path.dirname(HEADER), "-x",
                  "c++" if plus else "c", "-fsyntax-only", source], f"{compiler} {standard}")


@test("the library exports the functions of dflock.h, each with its version, and nothing else",
      rules=["X2"], deadline=120)
def symbols():
    node, names = re.search(r"^(\w+[\w.]*) \{\nglobal:\n(.*?)local:\n\t\*;\n\};", read(
        os.path.join(top, "src/client/libdflock.map")), re.M | re.S).groups()
    mapped = set(re.findall(r"^\t(\w+);$", names, re.M))
    check_eq(sorted(mapped ^ declared()), [], "only in libdflock.map, or only in dflock.h")
    check(len(mapped) > 60, f"only {len(mapped)} names")
    listing = tool(["readelf", "--dyn-syms", "--wide", os.path.join(LIBRARY, "libdflock.so")], "names")
    exported = set(re.findall(r" FUNC +GLOBAL +DEFAULT +\d+ (\S+)$", listing, re.M))
    check_eq(sorted(exported ^ {f"{x}@@{node}" for x in mapped}), [], "exported or mapped only")
    data = re.findall(r" OBJECT +(?:GLOBAL|WEAK) +DEFAULT +(?!UND)\d+ (\S+)$", listing, re.M)
    check_eq([x for x in data if not x.startswith(node)], [], "variables")
    dynamic = tool(["readelf", "--dynamic", os.path.join(LIBRARY, "libdflock.so")], "its head")
    check("Library soname: [libdflock.so.0]" in dynamic, dynamic)


def make(*args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    r = subprocess.run(["make", "-C", build, *args], env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    check(r.returncode == 0, f"make {' '.join(args)}:\n{r.stdout[-3000:]}")


def files(root):
    return sorted(os.path.relpath(os.path.join(at, x), root) for at, _, names in os.walk(root)
                  for x in names)


PROGRAMS = {"dflock", "dflock-bench", "dflockctl", "dflockd"}


@test("make install, pkg-config, a program made with it, the manual by each name, make uninstall",
      rules=["X3", "X4"], deadline=180)
def install():
    # One at a time: the build directory is shared.
    root = temp_dir()
    make("install", f"DESTDIR={root}")
    there = files(root)
    prefix = re.search(r"^prefix=(.*)$", read(os.path.join(build, "src/client/dflock.pc")), re.M)[1]
    at = root + prefix

    programs = {os.path.basename(x) for x in there if re.search(r"/s?bin/[^/]+$", "/" + x)}
    check_eq(sorted(programs), sorted(PROGRAMS), "programs")
    for path in (f"{at}/include/dflock.h", f"{at}/lib/libdflock.so", f"{at}/lib/libdflock.so.0",
                 f"{at}/lib/pkgconfig/dflock.pc"):
        check(os.path.exists(path), f"{path} is missing: {there}")

    manual = glob.glob(f"{root}/**/man3", recursive=True)[0]
    for name in declared():
        page = tool(["sh", "-c", f"cd '{manual}/..' && mandoc -T utf8 man3/{name}.3"], name)
        plain = re.sub(".\b", "", page)
        check(re.search(rf"NAME\n(?:.*\n)*?.*\b{name}\b", plain) and "EXAMPLES" in plain, name)
    for program in programs:
        check(glob.glob(f"{root}/**/man[18]/{program}.[18]", recursive=True),
              f"{program} has no manual page")

    example(at)
    make("uninstall", f"DESTDIR={root}")
    check_eq(files(root), [], "what uninstall has left")
    shutil.rmtree(root)


def example(at):
    """What a reader of the manual does with the program of libdflock(3)."""
    page = read(os.path.join(top, "docs/man/libdflock.3"))
    text = re.search(r"^\.Bd -literal.*?\n(#include.*?)^\.Ed$", page, re.M | re.S)[1]
    source = os.path.join(temp_dir(), "once.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write(text.replace("\\e", "\\"))
    flags = pkg_config(at).split()
    check_eq(flags[0], f"-I{at}/include", "the flags")
    program = source[:-2]
    tool([*CC, *SANITIZE, "-o", program, source, *flags], "cc $(pkg-config …)")
    needed = tool(["readelf", "--dynamic", program], "what it needs")
    check("Shared library: [libdflock.so.0]" in needed, needed)
    check("libssl" not in needed and "libz" not in needed, f"more than it has to: {needed}")
    tool([*CC, *SANITIZE, "-o", program, source, redirect(), *flags], "the same, with redirection")
    with Server() as server, started(program, {"127.0.0.1:6388": server},
                                     env={"LD_LIBRARY_PATH": f"{at}/lib"}) as p:
        compare(p.ended(), ["the lock is held"])


def pkg_config(at):
    env = {**environment({}, {}), "PKG_CONFIG_PATH": f"{at}/lib/pkgconfig"}
    r = subprocess.run(["pkg-config", f"--define-variable=prefix={at}", "--cflags", "--libs",
                        "dflock"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       encoding="utf-8")
    check(r.returncode == 0, f"pkg-config: {r.stdout}")
    return r.stdout


if __name__ == "__main__":
    main()
