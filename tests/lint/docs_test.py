"""docs_test.py - the documents and the source say the same: options, commands, replies, error
numbers, invariants, names of files; the manual pages are well-formed; links lead somewhere."""

import glob
import os
import re
import subprocess
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
MAN5 = "docs/man/dflockd.conf.5"
MAN8 = "docs/man/dflockd.8"
MAN7 = "docs/man/dflockd-protocol.7"


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


def both_ways(source, said, where):
    """What only one of two sets of names has."""
    return ([f"{x} is missing from {where}" for x in sorted(source - said)] +
            [f"{x} is in {where}, not in the source" for x in sorted(said - source)])


def read_options():
    """{name: (environment variable or None, older one or None)}, (built, not built)"""
    missing = set(re.findall(r"\[FEATURE_(\w+)\] = \{\"[^\"]*\",\s*\"", read("src/config/options.c")))
    rows = re.findall(r"^OPTION\(\s*\"([^\"]+)\",\s*(NULL|\"\w+\"),\s*(NULL|\"\w+\"),\s*(\w+),"
                      r"(.*?)^(?=OPTION|\Z)", read("src/config/options.def"), re.M | re.S)
    built, unbuilt = {}, {}
    for name, env, older, kind, rest in rows:
        feature = re.search(r"\b(?:SHOWN|SECRET),\s*(\w+),", rest)[1]
        where = unbuilt if feature in missing else built
        where[name] = (env.strip('"') if env != "NULL" else None,
                       older.strip('"') if older != "NULL" else None)
    return built, unbuilt


def options_in_manual():
    built, unbuilt = read_options()
    items = re.findall(r"^\.It (Fl .*)$", read(MAN8), re.M)
    said, env = set(), {}
    for item in items:
        names = re.findall(r"Fl -([\w-]+)", item)
        said |= {n for n in names if not (n.startswith("no-") and n[3:] in names)}
        var = re.search(r"Pq Ev (\w+)", item)
        env[names[0]] = var[1] if var else None
    wrong = both_ways(set(built), said, MAN8) if len(built) > 20 else ["options.def not understood"]
    for name, (variable, _) in built.items():
        if name in env and env[name] != variable:
            wrong.append(f"--{name}: {variable} in options.def, {env[name]} in {MAN8}")
    return wrong


def keys_in_manual():
    """Each key of a file, with its default and whether a reload is enough."""
    built, _ = read_options()
    source = set()
    for name, default, effect in re.findall(
            r'^OPTION\(\s*"([^"]+)",\s*"\w+",\s*(?:NULL|"\w+"),\s*\w+,\s*"([^"]*)",.*?'
            r"\b(RELOAD|RESTART),", read("src/config/options.def"), re.M | re.S):
        if name in built and name != "config":
            source.add(f"{name.replace('-', '_')} {default or '-'} {effect.lower()}")
    said = {f"{k} {d} {e}" for k, d, e in
            re.findall(r"^\.It Ic (\w+) Ta Ar \w+ Ta (?:Li )?(\S+) Ta (\w+)$", read(MAN5), re.M)}
    return both_ways(source, said, MAN5) if len(source) > 20 else ["options.def not understood"]


def older_variables_in_manual():
    built, _ = read_options()
    older = {x for _, x in built.values() if x}
    return [f"{x} is not in {MAN8}" for x in sorted(older) if f".Ev {x}" not in read(MAN8)]


# systemctl's, configure's, pkg-config's, curl's
FOREIGN = {"kill-who", "now", "signal", "without-systemd", "without-seccomp", "disable-http", "disable-tls", "cflags",
           "libs", "cacert"}


def options_of_programs():
    """Of dflock, dflockctl, dflock-bench, by their manual pages."""
    return {x for path in glob.glob(os.path.join(top, "docs/man/*.1"))
            for line in re.findall(r"^\.It Fl (.*)$", read(path), re.M)
            for x in re.findall(r"-([a-z][a-z-]+)", line)}


def options_elsewhere():
    """Other documents name no option that is refused, and none that does not exist."""
    built, unbuilt = read_options()
    wrong, others = [], options_of_programs()
    for path in ["README.md", MAN5, MAN8, MAN7]:
        for name in re.findall(r"--([a-z][a-z-]+)|(?<=Fl -)([a-z][a-z-]+)", read(path)):
            name = name[0] or name[1]
            if path == "README.md" and name in others:
                continue
            known = set(built) | {"name", "no-name"} | {"no-" + x for x in built} | FOREIGN
            if name not in known:
                wrong.append(f"{path}: --{name} " + ("is not built in" if name in unbuilt else
                                                     "is no option"))
    return wrong


def http_in_readme():
    built, _ = read_options()
    rows = "".join(re.findall(r"^\|((?: `--[\w-]+`,?)+) \|", read("README.md"), re.M))
    return both_ways({x for x in built if x.startswith("http-")},
                     set(re.findall(r"--(http-[\w-]+)", rows)), "README.md's settings")


# What configure asks for, as README.md names it.
LIBRARIES = {"libcrypto": "OpenSSL", "libssl": "OpenSSL", "inih": "inih", "jansson": "jansson",
             "libevent_core": "libevent", "libevent_openssl": "libevent", "zlib": "zlib",
             "libseccomp": "libseccomp", "libsystemd": "libsystemd"}


def libraries_in_readme():
    asked = re.findall(r"PKG_CHECK_MODULES\(\[\w+\], \[(\w+)", read("configure.ac"))
    there = re.search(r"^Elsewhere install (.*?)\sfirst;", read("README.md"), re.M | re.S)[1]
    return [f"{LIBRARIES.get(x, x)} is not named in README.md" for x in sorted(set(asked))
            if LIBRARIES.get(x, x) not in there]


def commands_in_manual():
    words = set(re.findall(r'^COMMAND\("(\w+)"', read("src/proto/command.def"), re.M))
    table = re.search(r"^\.Sh COMMANDS\n(.*?)^\.El", read(MAN7), re.M | re.S)[1]
    said = set()
    for row in re.findall(r"^\.It Ic (.*?) Ta ", table, re.M):
        said |= set(re.findall(r"\w+", row))
    readme = set()
    for row in re.findall(r"^\| ((?:`\w+` )+)(?=key|any|prefix)", read("README.md"), re.M):
        readme |= set(re.findall(r"\w+", row))
    return both_ways(words, said, MAN7) + both_ways(words, readme, "README.md's table")


def replies_in_manual():
    words = set(re.findall(r'^REPLY\(\w+,\s*"(\w+)"\)', read("src/proto/reply.def"), re.M))
    section = re.search(r"^\.Sh REPLIES\n(.*?)^\.Sh", read(MAN7), re.M | re.S)[1]
    said = set()
    for row in re.findall(r"^\.It Li (.*)$", section, re.M):
        said |= set(re.findall(r"\w+", row))
    return both_ways(words, said, MAN7)


def error_numbers_in_manual():
    body = re.search(r"enum request_error \{(.*?)\};", read("src/proto/request.h"), re.S)[1]
    texts = dict(re.findall(r"case (REQUEST_ERROR_\w+):\s*return \"([^\"]+)\"",
                            read("src/proto/request.c")))
    source = {(n, texts[name]) for name, n in re.findall(r"(REQUEST_ERROR_\w+) = (\d+)", body)}
    said = set(re.findall(r"^\.It (\d+) Ta (.*?) Ta ", read(MAN7), re.M))
    return both_ways({" ".join(x) for x in source}, {" ".join(x) for x in said}, MAN7)


def invariants_explained():
    source = set(re.findall(r"^ \*   (I\d+) ", read("src/core/layout.h"), re.M))
    said = set(re.findall(r"^\| (I\d+) \|", read("docs/internals/table.md"), re.M))
    checked = {f"I{n}" for n in re.findall(r"REQUIRE\(w,.*?,\s*(\d+),", read("src/core/check.c"), re.S)}
    checked |= {f"I{n}" for n in re.findall(r"\(struct check_report\)\{(\d+),", read("src/core/check.c"))}
    return (both_ways(source, said, "docs/internals/table.md") +
            [f"{x} is not checked by check.c" for x in sorted(source - checked)])


def fields_explained():
    """Every field of the table's structs is named in table.md."""
    text = read("docs/internals/table.md")
    wrong = []
    for name in ("resource", "node", "chunk", "owner", "wheel", "shard"):
        body = re.search(r"^struct %s \{\n(.*?)^\};" % name, read("src/core/layout.h"), re.M | re.S)[1]
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        for line in body.split(";"):
            for field in re.findall(r"(\w+)(?:\[[^\]]*\])*\s*(?:,|$)", line.strip()):
                if not re.search(r"`%s(\[\w*\])?`" % field, text):
                    wrong.append(f"struct {name}: {field}")
    return wrong


def lint_manuals():
    wrong = []
    for path in sorted(glob.glob(os.path.join(top, "docs/man/*.[1-9]"))):
        try:
            r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        except FileNotFoundError:
            return ["mandoc is not installed"]
        if r.returncode != 0 or r.stdout:
            wrong += r.stdout.splitlines() or [f"{path}: status {r.returncode}"]
    return wrong


def documents():
    return ["README.md"] + sorted(os.path.relpath(p, top) for p in
                                  glob.glob(os.path.join(top, "docs/**/*.md"), recursive=True))


def anchors(path):
    """As the usual renderers make them from headings."""
    names = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S),
                              re.M):
        text = re.sub(r"[^\w\- ]", "", heading.lower())
        names.add(text.replace(" ", "-"))
    return names


def links_resolve():
    wrong = []
    for path in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(top, there)):
                wrong.append(f"{path}: {target}: no such file")
            elif anchor and anchor not in anchors(there):
                wrong.append(f"{path}: {target}: no such heading")
    return wrong


def named_files_exist():
    """Paths in backquotes, and in comments that point to a document."""
    wrong = []
    for path in documents():
        for name in re.findall(r"`((?:src|tests|docs)/[\w./-]+\.\w+)`", read(path)):
            if not os.path.exists(os.path.join(top, name)):
                wrong.append(f"{path}: {name} does not exist")
    for path in glob.glob(os.path.join(top, "src/**/*.[ch]"), recursive=True):
        with open(path, encoding="utf-8") as f:
            for name in re.findall(r"(docs/[\w./-]+\.md)", f.read()):
                if not os.path.exists(os.path.join(top, name)):
                    wrong.append(f"{os.path.relpath(path, top)}: {name} does not exist")
    return wrong


def documents_are_shipped():
    text = read("docs/local.mk") + read("docs/packaging/local.mk")
    return [f"{p} is not in docs/local.mk" for p in
            documents()[1:] + [os.path.relpath(p, top) for p in
                               glob.glob(os.path.join(top, "docs/man/*.[1-9]"))]
            if not re.search(r"(?<!\S)%s(?!\S)" % re.escape(p), text)]


CHECKS = [
    (f"{MAN8} has the options that are built in, with their variables", options_in_manual),
    (f"{MAN5} has the keys, their defaults and effect", keys_in_manual),
    (f"{MAN8} has the older names of variables", older_variables_in_manual),
    ("no document names an option that is refused or does not exist", options_elsewhere),
    ("README.md has the options of HTTP", http_in_readme),
    ("README.md names the libraries that configure asks for", libraries_in_readme),
    ("the commands of command.def are documented", commands_in_manual),
    ("the replies of reply.def are documented", replies_in_manual),
    ("the numbers and texts of request errors are documented", error_numbers_in_manual),
    ("each invariant is explained and checked", invariants_explained),
    ("each field of the table is explained", fields_explained),
    ("mandoc finds nothing wrong with the manual pages", lint_manuals),
    ("links between documents lead somewhere", links_resolve),
    ("files that documents and comments name exist", named_files_exist),
    ("all documents are in the source archive", documents_are_shipped),
]

failed = False
for n, (text, function) in enumerate(CHECKS, 1):
    try:
        found = function()
    except (AttributeError, KeyError, TypeError, OSError) as e:
        found = [f"the source or the document is not of the form that this test reads: {e!r}"]
    print(f"{'not ok' if found else 'ok'} {n} - {text}")
    for line in found:
        print(f"# {line}")
    failed = failed or bool(found)
print(f"1..{len(CHECKS)}")
sys.exit(failed)
