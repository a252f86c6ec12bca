"""rules_test.py - each rule of docs/rules.md has a test that names it, and that is run; each name has a
rule."""

import ast
import glob
import os
import re
import sys

top = os.environ.get("top_srcdir") or os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                   "../..")
MARKS = ("[not yet]", "[review]")


def read_rules(path, wrong):
    """{number: text}; numbers of a letter must go up."""
    rules, last = {}, {}
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = re.match(r"\* ([A-Z])([0-9]+) (.+)$", line)
            if not m:
                if re.match(r"\s*[-*]?\s*\**[A-Z][0-9]+\b", line):
                    wrong.append(f"{path}:{number}: not of the form '* P1 text'")
                continue
            letter, n = m[1], int(m[2])
            if n <= last.get(letter, 0):
                wrong.append(f"{path}:{number}: {letter}{n} after {letter}{last.get(letter, 0)}")
            last[letter] = n
            rules[f"{letter}{n}"] = m[3]
    return rules


def read_names(path, wrong):
    """[(rule, line)] of every rules=[…] given to a call."""
    with open(path, encoding="utf-8") as f:
        tree = ast.parse(f.read(), path)
    names = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for k in node.keywords:
            if k.arg != "rules":
                continue
            try:
                names += [(str(name), node.lineno) for name in ast.literal_eval(k.value)]
            except ValueError:
                wrong.append(f"{path}:{node.lineno}: rules= must be a list of strings")
    return names


def not_run():
    """Tests that no make file names."""
    text = ""
    for path in glob.glob(os.path.join(top, "tests/**/local.mk"), recursive=True):
        with open(path, encoding="utf-8") as f:
            text += f.read()
    named = set(re.findall(r"[\w/]+_test\.py", text))
    found = {os.path.relpath(path, top)
             for path in glob.glob(os.path.join(top, "tests/**/*_test.py"), recursive=True)}
    return [f"{path} is in no local.mk" for path in sorted(found - named)]


def main():
    form, unnamed, unknown, marked = [], [], [], []
    rules = read_rules(os.path.join(top, "docs/rules.md"), form)
    tests = sorted(glob.glob(os.path.join(top, "tests/e2e/*_test.py")) +
                   glob.glob(os.path.join(top, "tests/systemd/*_test.py")))
    named = set()
    for path in tests:
        for name, line in read_names(path, form):
            where = f"{os.path.relpath(path, top)}:{line}"
            named.add(name)
            if name not in rules:
                unknown.append(f"{where}: there is no rule {name}")
            elif rules[name].endswith("[not yet]"):
                marked.append(f"{where}: {name} is marked [not yet]: remove the mark")
    for name, text in rules.items():
        if name not in named and not text.endswith(MARKS):
            unnamed.append(f"{name}: {text}")
    results = [
        ("rules and their names can be read", form),
        (f"there are rules ({len(rules)}) and tests ({len(tests)} files)",
         [] if rules and tests else ["none found"]),
        ("each rule has a test that names it", unnamed),
        ("each rule that a test names exists", unknown),
        ("no test proves what is said not to be built yet", marked),
        ("each test is one that make runs", not_run()),
    ]
    for n, (text, wrong) in enumerate(results, 1):
        print(f"{'not ok' if wrong else 'ok'} {n} - {text}")
        for line in wrong:
            print(f"# {line}")
    print(f"1..{len(results)}")
    return any(wrong for _, wrong in results)


sys.exit(main())
