#!/usr/bin/env python3
"""release_test.py - the source archive: the same bytes whoever makes it and where, whole, built by who has
neither autotools nor git, tested, installed where it is told and nowhere else, and taken away again. Run by
make check-release. What can write elsewhere would: as root, it is built and installed by another user."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tarfile

from harness import Failure, check, check_eq, diag, main, temp_dir, test

TOP, BUILD = os.environ["top_srcdir"], os.environ["top_builddir"]
NOBODY = 65534
# What a build from the archive must not need.
ABSENT = r"auto\w*(-\d.*)?|aclocal(-\d.*)?|ifnames|libtool\w*|m4|git.*|gettext\w*|python3?-config"
FEW_TESTS = ["tests/base/num_test", "tests/core/tally_test", "tests/config/load_test",
             "tests/e2e/features_test.py", "tests/e2e/protocol_commands_test.py", "tests/lint/docs_test.py"]
PREFIX = "/opt/dflockd"
UNITS = f"{PREFIX}/units"
INSTALLED = {
    "bin": ["dflock", "dflock-bench", "dflockctl"],
    "include": ["dflock.h"],
    "lib": ["libdflock.la", "libdflock.so", "libdflock.so.0", "libdflock.so.0.0.0"],
    "lib/pkgconfig": ["dflock.pc"],
    "lib/sysusers.d": ["dflockd.conf"],
    "libexec/dflockd": ["reap-workers"],
    "sbin": ["dflockd"],
    "share/bash-completion/completions": ["dflock", "dflock-bench", "dflockctl", "dflockd"],
    "share/doc/dflockd": ["dflockd.conf"],
    "share/man/man1": ["dflock-bench.1", "dflock.1", "dflockctl.1"],
    "share/man/man5": ["dflockd.conf.5"],
    "share/man/man7": ["dflockd-http.7", "dflockd-protocol.7"],
    "share/man/man8": ["dflockd.8"],
    "units": ["dflockd-http.socket", "dflockd-unix.socket", "dflockd.service", "dflockd.socket"],
}
JOBS = str(os.cpu_count())


def run(*argv, cwd, env=None, umask=0o022, user=None):
    clean = {k: v for k, v in os.environ.items()
             if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "SOURCE_DATE_EPOCH", "DFLOCKD",
                          "top_srcdir", "top_builddir", "PYTHONPATH")}
    who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    p = subprocess.run(argv, cwd=cwd, env={**clean, **(env or {})}, umask=umask, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **who)
    if p.returncode != 0:
        raise Failure(f"{' '.join(argv)}: status {p.returncode}\n{p.stdout[-4000:]}")
    return p.stdout


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Place:
    """Where somebody else builds: a directory, a user, and the programs that this user has."""

    def __init__(self):
        self.user = NOBODY if os.geteuid() == 0 else None
        self.home = temp_dir()
        self.bin = os.path.join(self.home, "bin")
        os.mkdir(self.bin)
        for directory in os.environ["PATH"].split(":"):
            for path in glob.glob(os.path.join(directory, "*")):
                name = os.path.basename(path)
                # Others than the system's may be this user's own, which the other one cannot run.
                if directory.startswith(("/usr", "/bin", "/sbin")) and not re.fullmatch(ABSENT, name):
                    with contextlib.suppress(FileExistsError):
                        os.symlink(path, os.path.join(self.bin, name))
        if self.user is not None:
            os.chmod(self.home, 0o755)
            os.chown(self.home, self.user, self.user)

    def run(self, *argv, cwd=None, **env):
        return run(*argv, cwd=cwd or self.home, user=self.user, umask=0o077,
                   env={"PATH": self.bin, "HOME": self.home, "LC_ALL": "C.UTF-8", "TZ": "Pacific/Apia", **env})


place = Place()
made = {}  # what the tests before have made


def made_by(argv, directory, **options):
    """A copy of the archive that make dist leaves in a directory."""
    for old in glob.glob(os.path.join(directory, "dflockd-*.tar.xz")):
        os.unlink(old)
    argv("make", "dist", cwd=directory, **options)
    found = glob.glob(os.path.join(directory, "dflockd-*.tar.*"))
    check_eq(len(found), 1, f"archives: {found}")
    kept = os.path.join(temp_dir(), os.path.basename(found[0]))
    shutil.copy(found[0], kept)
    os.chmod(os.path.dirname(kept), 0o755)
    return kept


@test("make dist makes the same bytes again, whatever the umask, the time zone and the language", deadline=900)
def twice():
    made["archive"] = made_by(run, BUILD)
    again = made_by(run, BUILD, umask=0o077, env={"TZ": "Asia/Tokyo", "LC_ALL": "C", "XZ_OPT": "-0 -T4",
                                                  "TAR_OPTIONS": "--owner=7"})
    check_eq(digest(again), digest(made["archive"]), "the second archive")
    other = made_by(run, BUILD, env={"SOURCE_DATE_EPOCH": "1000000000"})
    with tarfile.open(other) as tar:
        check_eq({m.mtime for m in tar}, {1000000000}, "SOURCE_DATE_EPOCH")
    diag(f"{os.path.basename(made['archive'])}: {os.path.getsize(made['archive'])} bytes, "
         f"sha256 {digest(made['archive'])}")


@test("it has everything that git has, in order, nobody's and of one date")
def whole():
    with tarfile.open(made["archive"]) as tar:
        members = tar.getmembers()
    top = os.path.basename(made["archive"])[:-len(".tar.xz")]
    names = [m.name for m in members]
    check_eq(names[0], top, "the first one")
    check_eq({n.split("/")[0] for n in names}, {top}, "one directory")
    check_eq([n for n in names if re.search(r"\.(o|a|lo|la|trs|log)$|~$|/__pycache__", n)], [], "what a build makes")
    for m in members:
        check(m.isfile() or m.isdir(), f"{m.name}: no file")
        check_eq((m.uid, m.gid, m.uname, m.gname), (0, 0, "", ""), m.name)
        check_eq(m.mode, 0o755 if m.isdir() or m.mode & 0o100 else 0o644, m.name)
    check_eq(len({m.mtime for m in members}), 1, "dates")
    if os.path.exists(os.path.join(TOP, ".git")):
        tracked = run("git", "ls-files", cwd=TOP).split()
        missing = sorted(set(tracked) - {".gitignore"} - {n[len(top) + 1:] for n in names})
        check_eq(missing, [], "files that are not in it")
        check_eq(str(members[0].mtime), run("git", "log", "-1", "--format=%ct", cwd=TOP).strip(), "the date")


@test("it is built where there are neither autotools nor git", deadline=1800)
def builds():
    # The file is not this test's user's, but may be read.
    shutil.copy(made["archive"], place.home)
    place.run("tar", "-xf", os.path.join(place.home, os.path.basename(made["archive"])))
    made["source"] = os.path.join(place.home, os.path.basename(made["archive"])[:-len(".tar.xz")])
    made["build"] = os.path.join(place.home, "build")
    place.run("mkdir", made["build"])
    for name in ("autoconf", "automake", "aclocal", "libtoolize", "libtool", "m4", "git"):
        check(shutil.which(name, path=place.bin) is None, f"{name} is there")
    place.run(os.path.join(made["source"], "configure"), f"--prefix={PREFIX}",
              f"--with-systemdsystemunitdir={UNITS}", cwd=made["build"])
    place.run("make", f"-j{JOBS}", cwd=made["build"])


@test("what was built passes tests", deadline=900)
def tested():
    programs = [x for x in FEW_TESTS if not x.endswith(".py")]
    # Only these programs are built, not those of all tests.
    said = place.run("make", f"-j{JOBS}", "check", f"TESTS={' '.join(FEW_TESTS)}",
                     f"check_PROGRAMS={' '.join(programs)}", "check_LIBRARIES=tests/libtap.a", "check_DATA=",
                     cwd=made["build"])
    counts = dict(re.findall(r"^# (\w+): +(\d+)$", said, re.M))
    check(int(counts["PASS"]) > 100, f"tests: {counts}")
    check_eq(counts["PASS"], counts["TOTAL"], "tests that passed")


@test("it makes the same archive again, byte for byte", deadline=900)
def again():
    check_eq(digest(made_by(place.run, made["build"])), digest(made["archive"]), "the archive of the archive")


@test("it is installed where it is told, and nowhere else; uninstalled, nothing is left", deadline=300)
def installed():
    root = os.path.join(place.home, "root")
    place.run("make", "install", f"DESTDIR={root}", cwd=made["build"])
    found = {}
    for directory, _, files in os.walk(root):
        for name in files:
            found.setdefault(os.path.relpath(directory, root + PREFIX), []).append(name)
    found = {directory: sorted(names) for directory, names in found.items()}
    pages = {os.path.basename(x) for x in glob.glob(os.path.join(TOP, "docs/man/*.3"))}
    links = set(found.pop("share/man/man3"))
    check(pages < links and len(links) > len(pages), f"pages of section 3: {links}")
    for directory in sorted(set(found) | set(INSTALLED)):
        check_eq(found.get(directory), INSTALLED.get(directory), directory)
        diag(f"{PREFIX}/{directory}: {' '.join(found[directory])}")
    with open(f"{root}{UNITS}/dflockd.service", encoding="utf-8") as f:
        text = f.read()
    check(f"\nExecStart={PREFIX}/sbin/dflockd " in text, text)
    check(f"\nExecStopPost={PREFIX}/libexec/dflockd/reap-workers\n" in text, text)
    place.run("make", "uninstall", f"DESTDIR={root}", cwd=made["build"])
    left = [os.path.join(d, x) for d, _, files in os.walk(root) for x in files]
    check_eq(left, [], "what uninstall leaves")


if __name__ == "__main__":
    main(jobs=1)
