"""manual_test.py - the manual of the library and its header say the same: each function of dflock.h
is in the NAME and, with the same declaration, in the SYNOPSIS of one page of section 3, and in one of
its examples; the pages name no other function. Errors and results are explained."""

import glob
import os
import re
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
# Functions that the user writes.
CALLBACKS = {"dflock_shard_fn", "dflock_renew_error_fn"}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def squeezed(text):
    """A declaration without its blanks."""
    return re.sub(r"\s*([*(),;])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


header = re.sub(r"/\*.*?\*/", "", read(os.path.join(top, "src/client/dflock.h")), flags=re.S)
header = re.sub(r"^#.*$", "", header, flags=re.M).replace('extern "C" {', "")
declared = {}
for statement in re.findall(r"[^;{}]*\([^;{}]*\);", header):
    declared[re.search(r"\b(dflock\w*)\(", statement)[1]] = squeezed(statement)
constants = set(re.findall(r"\b(DFLOCK_[A-Z_]+) = ", header)) - {"DFLOCK_LOCK", "DFLOCK_SEMAPHORE"}
pages = {os.path.basename(p): read(p) for p in sorted(glob.glob(os.path.join(top, "docs/man/*.3")))}


def section(text, name):
    m = re.search(r"^\.Sh %s\n(.*?)(?=^\.Sh|\Z)" % name, text, re.M | re.S)
    return m[1] if m else ""


def names(text):
    return [x for x in re.findall(r"^\.Nm (\w+)", section(text, "NAME"), re.M) if x != "libdflock"]


def synopsis(text):
    """{function: declaration}"""
    found = {}
    for kind, function, rest in re.findall(r"^\.Ft (.*)\n\.Fn (\w+)(.*)$", section(text, "SYNOPSIS"),
                                           re.M):
        found[function] = squeezed(f"{kind} {function}({','.join(re.findall(chr(34) + '([^' + chr(34) + ']*)' + chr(34), rest))});")
    return found


def examples(text):
    return "\n".join(re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", section(text, "EXAMPLES"),
                                re.M | re.S))


def each_is_named_once():
    said = [x for text in pages.values() for x in names(text)]
    own = set(declared) - CALLBACKS
    return ([f"{x} is in no page" for x in sorted(own - set(said))] +
            [f"{x} is in a page, not in dflock.h" for x in sorted(set(said) - own)] +
            [f"{x} is in {said.count(x)} pages" for x in sorted(set(said)) if said.count(x) > 1])


def declarations_are_the_same():
    wrong = [] if len(declared) > 60 else [f"dflock.h not understood: {len(declared)} functions"]
    for page, text in pages.items():
        said = synopsis(text)
        wrong += [f"{page}: {x} is not in SYNOPSIS" for x in names(text) if x not in said]
        for function, form in said.items():
            if form != declared.get(function):
                wrong.append(f"{page}: {form} is in dflock.h: {declared.get(function)}")
            if function not in names(text) and function not in CALLBACKS:
                wrong.append(f"{page}: {function} is not in NAME")
    said = {x for text in pages.values() for x in synopsis(text)}
    return wrong + [f"{x} is in no SYNOPSIS" for x in sorted(CALLBACKS - said)]


def each_has_an_example():
    return [f"{page}: no example calls {x}" for page, text in pages.items() for x in names(text)
            if not re.search(r"\b%s\b" % x, examples(text))]


def constants_are_explained():
    text = pages["dflock_error_text.3"]
    said = set(re.findall(r"^\.It Dv (DFLOCK_\w+)", text, re.M))
    return ([f"{x} is missing from dflock_error_text.3" for x in sorted(constants - said)] +
            [f"{x} is not in dflock.h" for x in sorted(said - constants)])


def functions_mentioned_exist():
    wrong = []
    for page, text in pages.items():
        for x in re.findall(r"\bdflock_\w+", text):
            if x in declared or x + ".3" in pages or x.endswith("_") or x in pages or \
                    re.search(r"\b(?:struct|enum|typedef struct) %s\b" % x, header) or \
                    x == "dflock_options_set_":
                continue
            wrong.append(f"{page}: {x} does not exist")
    return wrong


CHECKS = [
    ("each function of dflock.h is in the NAME of one page", each_is_named_once),
    ("the pages declare functions as dflock.h does", declarations_are_the_same),
    ("each function has an example in its page", each_has_an_example),
    ("results and errors are explained", constants_are_explained),
    ("functions and types that the pages mention exist", functions_mentioned_exist),
]

failed = False
for n, (text, function) in enumerate(CHECKS, 1):
    found = function()
    print(f"{'not ok' if found else 'ok'} {n} - {text}")
    for line in found:
        print(f"# {line}")
    failed = failed or bool(found)
print(f"1..{len(CHECKS)}")
sys.exit(failed)
