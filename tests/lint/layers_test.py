"""layers_test.py - the architecture: who may include whom, and which file owns which facility.
docs/HACKING.md says why."""

import glob
import os
import re
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))

# What a layer may include besides itself. A new layer gets a row here and in docs/HACKING.md.
MAY_INCLUDE = {
    "base": set(),
    "core": set(),
    "proto": {"base"},
    "config": {"base"},
    "shm": {"base", "core"},
    "net": {"base"},
    "serving": {"base", "core", "config", "shm", "net"},
    "worker": {"base", "core", "proto", "config", "shm", "net", "serving"},
    "http": {"base", "core", "proto", "config", "shm", "net", "serving"},
    "supervisor": {"base", "config", "shm", "net"},
    "client": {"base"},
    "where": {"base", "client"},
    "cli": {"base", "client", "where"},
    "ctl": {"base", "client", "where"},
    "bench": {"base", "client", "where"},
    "dflockd": {"base", "core", "config", "shm", "net", "worker", "http", "supervisor"},
}

ALLOC = r"\b(?:malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|free)\s*\("

# (what, pattern, files or layers/ that may have it, files that are looked at)
OWNERS = [
    ("the futex system call", r"\bSYS_futex\b|\b__NR_futex", {"shm/futex.c"}, "*"),
    ("locking a mutex", r"\bpthread_(?:mutex|mutexattr)_(?!t\b)\w+",
     {"shm/lock.c", "client/", "bench/check.c"}, "*"),
    ("the mutex type", r"\bpthread_mutex(?:attr)?_t\b",
     {"shm/lock.c", "shm/lock.h", "shm/region.c", "shm/region.h", "client/", "bench/check.h"}, "*"),
    ("EOWNERDEAD", r"\bEOWNERDEAD\b", {"shm/lock.c"}, "*"),
    ("threads", r"\bpthread_create\b", {"shm/bell.c", "client/thread.c", "bench/run.c"}, "*"),
    # lock.c: the deadline that pthread_mutex_clocklock() wants.
    ("reading a clock", r"\bclock_gettime\b|\bgettimeofday\b|\btime\(NULL\)",
     {"base/clock.c", "shm/lock.c"}, "*"),
    ("kernel randomness", r"\bgetrandom\b|\bgetentropy\b|/dev/u?random", {"base/random.c"}, "*"),
    ("jansson", r"\bjansson\.h\b|\bjson_[a-z]+\w*\s*\(",
     {"serving/report.c", "http/", "cli/say.c", "ctl/data.c", "bench/report.c", "bench/webwire.c"}, "*"),
    # dump.c: only the version that --version prints.
    ("inih", r"#include <ini\.h>", {"config/file.c"}, "*"),
    ("libcrypto", r"#include <openssl/", {"config/secret.c", "config/dump.c", "net/tls.c",
                                             "shm/dumpfile.c", "client/tls.c"}, "*"),
    ("cryptography", r"\b(?:EVP|CRYPTO)_\w+", {"config/secret.c", "net/tls.c", "shm/dumpfile.c"}, "*"),
    ("TLS", r"\b(?:SSL|BIO|X509|PEM)_\w+", {"net/tls.c", "client/tls.c"}, "*"),
    ("filters of system calls, Landlock", r"<seccomp\.h>|\bseccomp_\w+\(|\bSYS_landlock",
     {"base/confine.c"}, "*"),
    ("changing user, group, capabilities",
     r"\bset(?:res|re|e)?[ug]id\b|\b(?:setgroups|initgroups|SYS_capset)\b", {"dflockd/user.c"}, "*"),
    ("passing descriptors", r"\bSCM_RIGHTS\b", {"net/pass.c", "cli/link.c"}, "*"),
    ("reading and writing connections", r"(?<![\w>.])(?:recv|send)\s*\(", {"net/stream.c", "client/reach.c"}, "*"),
    ("libevent", r"#include <event2/|\bev(?:buffer|ent|http|timer)_\w+\s*\(", {"http/"}, "*"),
    ("libsystemd", r"#include <systemd/|\bsd_[a-z_]+\s*\(", {"supervisor/notify.c"}, "*"),
    ("fork", r"(?<!\w)(?:fork|vfork|clone3?)\s*\(",
     {"supervisor/child.c", "supervisor/fence.c", "supervisor/reload.c", "supervisor/upgrade.c",
      "dflockd/tlsload.c", "cli/command.c", "cli/main.c"}, "*"),
    ("reading the environment", r"\bgetenv\b|\benviron\b",
     {"base/log.c", "ctl/screen.c", "dflockd/main.c", "dflockd/origin.c", "supervisor/notify.c",
      "where/where.c"}, "*"),
    ("allocation", ALLOC, set(), "core/*"),
    ("allocation", ALLOC, set(), "proto/*"),
    ("system headers beyond sizes and strings",
     r"#include <(?!(?:stddef|stdint|stdbool|string|errno)\.h>)", set(), "core/*"),
    ("system headers beyond sizes and strings",
     r"#include <(?!(?:stddef|stdint|stdbool|string)\.h>)", set(), "proto/*"),
    ("the log", r"\blog_(?:error|warn|info|debug|audit|write)\b", set(), "core/*"),
    ("the log", r"\blog_(?:error|warn|info|debug|audit|write)\b", set(), "shm/*"),
]


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def strip_strings(text):
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


files = {}
for path in sorted(glob.glob(os.path.join(top, "src/*/*.[ch]"))):
    with open(path, encoding="utf-8") as f:
        files[os.path.relpath(path, os.path.join(top, "src"))] = strip_comments(f.read())


def code(text):
    """Without strings, but with the names of included files."""
    return "\n".join(x if x.lstrip().startswith("#") else strip_strings(x)
                     for x in text.splitlines())


def lines_with(pattern, text):
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(pattern, line):
            yield number


def layers_are_known():
    return [f"src/{x} has no row in {os.path.basename(__file__)}"
            for x in sorted({p.split("/")[0] for p in files} - set(MAY_INCLUDE))]


def rows_point_down():
    """No circle: some order of the layers has every layer behind all that it includes."""
    left = dict(MAY_INCLUDE)
    while left:
        free = [x for x, below in left.items() if not below & set(left)]
        if not free:
            return [f"these include each other in a circle: {', '.join(sorted(left))}"]
        for x in free:
            del left[x]
    return []


def includes_point_down():
    wrong = []
    for path, text in files.items():
        layer = path.split("/")[0]
        for number, line in enumerate(text.splitlines(), 1):
            m = re.match(r'\s*#\s*include "([^"]+)"', line)
            if not m or m[1] == "config.h":
                continue
            other = m[1].split("/")[0]
            if "/" not in m[1]:
                wrong.append(f"src/{path}:{number}: \"{m[1]}\" is not named from src/")
            elif other != layer and other not in MAY_INCLUDE.get(layer, set()):
                wrong.append(f"src/{path}:{number}: {layer} may not include {other}")
            elif not os.path.exists(os.path.join(top, "src", m[1])):
                wrong.append(f"src/{path}:{number}: no such file {m[1]}")
    return wrong


def own_header_first():
    wrong = []
    for path, text in files.items():
        header = path[:-2] + ".h"
        first = re.search(r'#\s*include ["<]([^">]+)[">]', text)
        if path.endswith(".c") and header in files and (not first or first[1] != header):
            wrong.append(f"src/{path}: its first include is not {header}")
    return wrong


def private_headers():
    return [f"src/{p}:{n}: master_state.h is private to supervisor" for p, text in files.items()
            if not p.startswith("supervisor/") for n in lines_with(r"master_state\.h", text)]


def owned(pattern, owners, where):
    def may(path):
        return path in owners or f"{path.split('/')[0]}/" in owners

    wrong = [f"src/{p}:{n}" for p, text in files.items()
             if not may(p) and (where == "*" or p.startswith(where[:-1]))
             for n in lines_with(pattern, code(text))]
    # An owner without its thing: the pattern, or this table, is out of date.
    unused = [p for p in owners if not any(f.startswith(p) for f in files)]
    if owners and not any(re.search(pattern, code(text)) for f, text in files.items() if may(f)):
        wrong.append(f"none of {', '.join(sorted(owners))} has it: the pattern is out of date")
    return wrong + [f"src/{p} does not exist" for p in unused]


def hacking_agrees():
    """docs/HACKING.md has the same table."""
    with open(os.path.join(top, "docs/HACKING.md"), encoding="utf-8") as f:
        rows = re.findall(r"^\| `(\w+)/` \| [^|]* \| ([^|]*) \|$", f.read(), re.M)
    said = {layer: set(re.findall(r"\w+", below)) - {"nothing"} for layer, below in rows}
    return [f"{x}: {sorted(MAY_INCLUDE.get(x, []))} here, {sorted(said.get(x, []))} there"
            for x in sorted(set(MAY_INCLUDE) | set(said)) if MAY_INCLUDE.get(x) != said.get(x)]


results = [
    (f"there are sources ({len(files)} files)", [] if len(files) > 50 else ["too few found"]),
    ("each layer has its row", layers_are_known()),
    ("the rows allow no circle", rows_point_down()),
    ("includes point down only", includes_point_down()),
    ("a file includes its own header first", own_header_first()),
    ("private headers stay private", private_headers()),
    ("docs/HACKING.md has the same table of layers", hacking_agrees()),
]
for what, pattern, owners, where in OWNERS:
    who = f"only in {', '.join(sorted(owners))}" if owners else f"not in {where[:-2]}"
    results.append((f"{what}: {who}", owned(pattern, owners, where)))
for n, (text, wrong) in enumerate(results, 1):
    print(f"{'not ok' if wrong else 'ok'} {n} - {text}")
    for line in wrong:
        print(f"# {line}")
print(f"1..{len(results)}")
sys.exit(any(wrong for _, wrong in results))
