#!/usr/bin/env python3
"""packages_test.py - Debian packages, from the source archive to the purge: built, looked at by lintian,
installed in a container with a real systemd, used, upgraded under load, removed, purged. The container is
check-systemd's. Root; run by make check-packages."""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/systemd"))

from comeback import Comeback  # noqa: E402
from container import Container  # noqa: E402
from harness import (Client, Failure, check, check_eq, diag, eventually, fence_of, main, temp_dir,  # noqa: E402
                     test, token_of)

TOP, BUILD = os.environ["top_srcdir"], os.environ["top_builddir"]
ADDRESS = ("127.0.0.1", 6388)
SLOW = 60.0  # seconds for what the manager does
PACKAGES = ["dflock", "dflockd", "libdflock-dev", "libdflock0"]
INSTALLED = ["libdflock0", "dflock", "dflockd"]  # in the container; the others are for compilers
UNITS = ["dflockd.service", "dflockd.socket", "dflockd-http.socket", "dflockd-unix.socket"]
CONF = "/etc/dflockd/dflockd.conf"
# What comes and goes in any system, and the journals of who installs.
RESTLESS = re.compile(r"/(proc|sys|dev|run|tmp|root|var/(log|tmp|cache|lib/(dpkg|apt|systemd/(timers|random-seed"
                      r"|catalog)))|etc/(ld\.so\.cache|machine-id|\.pwd\.lock|(passwd|shadow|group|gshadow)-?))(/|$)")


def run(*argv, env=None, cwd=None):
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
    p = subprocess.run(argv, env={**clean, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if p.returncode != 0:
        raise Failure(f"{' '.join(argv)}: status {p.returncode}\n{p.stdout[-4000:]}")
    return p.stdout


class Bare(Container):
    """Without what make install would put there."""

    def __init__(self, build):
        super().__init__(build)
        self.root = os.path.join(self.directory, "root-packages")

    def install(self):
        subprocess.run(["rm", "-rf", self.root], check=True)
        run("cp", "-a", "--reflink=auto", self.image, self.root)


container = Bare(BUILD)
debs, previous = {}, {}  # {package: path}


def found(directory):
    return {os.path.basename(p).split("_")[0]: p for p in glob.glob(os.path.join(directory, "*.deb"))}


def earlier(path, directory):
    """The same package with a lower version."""
    tree = os.path.join(directory, "tree")
    run("rm", "-rf", tree)
    run("dpkg-deb", "--raw-extract", path, tree)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control, encoding="utf-8") as f:
        text = f.read()
    version = re.search(r"^Version: (.*)$", text, re.M)[1]
    with open(control, "w", encoding="utf-8") as f:
        f.write(text.replace(version, version + "~previous"))
    target = os.path.join(directory, os.path.basename(path).replace(version, version + "~previous"))
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, target)
    return target


def install(paths):
    """As an administrator would, who is not asked anything."""
    paths = list(paths)
    for path in paths:
        run("cp", path, container.path("/root/"))
    names = ["/root/" + os.path.basename(path) for path in paths]
    return container.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", *names)


def systemctl(*words, ok=True):
    return container.run("systemctl", *words, ok=ok).strip()


def show(name):
    return systemctl("show", "--property", name, "--value", "dflockd.service")


def version(package):
    return container.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package, ok=False)


def connect():
    return Client(ADDRESS, timeout=SLOW)


def processes():
    return [p for p in container.processes().values() if p.name.startswith("dflockd")]


def files():
    """What there is in the container, and accounts."""
    names = set()
    root = container.root
    for directory, below, plain in os.walk(root):
        inside = directory[len(root):] or "/"
        below[:] = [x for x in below if not RESTLESS.match(os.path.join(inside, x))]
        names |= {os.path.join(inside, x) for x in below + plain
                  if not RESTLESS.match(os.path.join(inside, x)) and not x.endswith(".pyc")}
    for name in ("passwd", "group", "shadow", "gshadow"):
        with open(f"{root}/etc/{name}", encoding="utf-8") as f:
            names |= {f"{name}: {line.split(':')[0]}" for line in f}
    return names


@test("make deb makes the packages of the source archive, without a test: the others are tests", deadline=900)
def built():
    run("make", "-C", BUILD, "deb", env={"DEB_FLAGS": "-b", "DEB_BUILD_OPTIONS":
                                         f"nocheck noautodbgsym parallel={os.cpu_count()}"})
    debs.update(found(os.path.join(BUILD, "deb")))
    check_eq(sorted(debs), PACKAGES, "packages")
    directory = temp_dir()
    previous.update({name: earlier(debs[name], directory) for name in INSTALLED})


@test("lintian finds no error", deadline=400)
def lint():
    changes = glob.glob(os.path.join(BUILD, "deb/*.changes"))
    check_eq(len(changes), 1, f"{changes}")
    said = run("lintian", "--allow-root", "--fail-on", "error", *changes)
    check(not re.search(r"^E: ", said, re.M), said)
    for line in said.splitlines():
        diag(line)


@test("a program is built with libdflock-dev as dflock.pc says, and needs libdflock0 only", deadline=180)
def library():
    root, at = temp_dir(), temp_dir()
    for name in ("libdflock0", "libdflock-dev"):
        run("dpkg-deb", "--extract", debs[name], root)
    [pc] = glob.glob(f"{root}/usr/lib/*/pkgconfig")
    env = {"PKG_CONFIG_SYSROOT_DIR": root, "PKG_CONFIG_LIBDIR": pc, "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
           "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1"}
    check_eq(run("pkg-config", "--modversion", "dflock", env=env).strip(), "0.1.0", "the version")
    flags = run("pkg-config", "--cflags", "--libs", "dflock", env=env).split()
    check_eq([x for x in flags if x.startswith("-l")], ["-ldflock"], "libraries")
    program = os.path.join(at, "basic_lock")
    run("cc", "-Wall", "-Werror", f"{root}/usr/share/doc/libdflock-dev/examples/basic_lock.c", "-o", program, *flags)
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", program))
    check_eq(sorted(needed), ["libc.so.6", "libdflock.so.0"], "what it needs")
    # It has no server yet, and says so by the library's words.
    p = subprocess.run([program], env={"LD_LIBRARY_PATH": os.path.dirname(pc)}, text=True, capture_output=True)
    check(p.returncode == 1 and "127.0.0.1:6388" in p.stderr, f"{p}")


before = set()


@test("the earlier version is installed: the service runs and is enabled, sockets are not; it serves", deadline=180)
def installed():
    before.update(files())
    install(previous[name] for name in INSTALLED)
    check_eq(systemctl("is-active", "dflockd.service"), "active", "the service")
    check_eq(systemctl("is-enabled", *UNITS, ok=False).split(), ["enabled"] + ["disabled"] * 3, "enabled")
    uid = int(container.run("id", "-u", "dflockd"))
    check(0 < uid < 1000 and all(p.uid == uid for p in processes()), f"the account is a system's: {uid}")
    check("/usr/sbin/nologin" in container.run("getent", "passwd", "dflockd"), "nobody logs in as it")
    check_eq(container.run("dflock", "key", "echo", "held"), "held\n", "a command under a lock")
    check_eq(systemctl("is-system-running"), "running", "the system")
    check(CONF in container.run("dpkg-query", "-W", "-f", "${Conffiles}", "dflockd"), "a conffile")


@test("the autopkgtest of the service passes", deadline=240)
def autopkgtest():
    with open(os.path.join(TOP, "docs/packaging/debian/tests/service"), encoding="utf-8") as f:
        container.write("/root/service", f.read(), mode=0o755)
    check_eq(container.run("/root/service"), "", "what it says")


@test("upgraded under load: the same master runs the new program, no connection ends, no lock is lost, fences grow, "
      "changed settings stay", deadline=240)
def upgraded():
    text = "max_waiters = 7\n"
    container.write(CONF, text)
    systemctl("reload", "dflockd")
    eventually(lambda: "Reloaded" in show("StatusText"), SLOW, "it is not reloaded")
    holder, waiter = connect(), connect()
    token = token_of(holder.req("l", "key", "0 1000"))
    waiter.ask("l", "key", "1000")
    load = Comeback(ADDRESS)
    load.goes_on()
    master = show("MainPID")
    cursor = re.search(r"^-- cursor: (.*)$", container.run("journalctl", "--show-cursor", "--lines=0"), re.M)[1]
    install(debs[name] for name in INSTALLED)
    check("previous" not in version("dflockd"), version("dflockd"))

    def journal():
        return container.run("journalctl", "--unit=dflockd.service", f"--after-cursor={cursor}", "--output=cat")

    eventually(lambda: "upgraded: all workers run this program" in journal(), SLOW, "it is never upgraded")
    load.goes_on()
    load.stop()
    check_eq(load.ends, 0, "connections that ended")
    check_eq((show("MainPID"), show("NRestarts")), (master, "0"), "the master, starts again")
    new = os.stat(container.path("/usr/sbin/dflockd"))
    for p in processes():
        program = os.stat(f"/proc/{p.pid}/exe")
        check_eq((program.st_dev, program.st_ino), (new.st_dev, new.st_ino), f"the program of {p.name}")
    with connect() as c:
        check_eq(c.req("l", "key", "0"), "timeout", "the lock is held")
    check_eq(holder.req("r", "key", token), "ok", "the release")
    check(fence_of(token_of(waiter.line())) > fence_of(token), "the next fence is greater")
    with open(container.path(CONF), encoding="utf-8") as f:
        check_eq(f.read(), text, "the settings")
    holder.close()
    waiter.close()


@test("a server that was stopped is not started by an upgrade", deadline=180)
def stays_down():
    systemctl("stop", "dflockd")
    install(previous[name] for name in INSTALLED)
    install(debs[name] for name in INSTALLED)
    check_eq(systemctl("is-active", "dflockd", ok=False), "inactive", "the service")
    systemctl("start", "dflockd")


@test("removed, it is stopped, and settings and fences stay for the next installation", deadline=180)
def removed():
    holder = connect()
    fence = fence_of(token_of(holder.req("l", "another", "30 5")))
    holder.close()  # or the server would wait for it
    container.run("dpkg", "--remove", "dflockd")
    eventually(lambda: not processes(), SLOW, "processes are left")
    check_eq(systemctl("is-active", *UNITS, ok=False).split(), ["inactive"] * 4, "units")
    for path in (CONF, "/var/lib/dflockd/fences"):
        check(os.path.exists(container.path(path)), f"{path} is gone")
    for path in ("/usr/sbin/dflockd", "/run/dflockd"):
        check(not os.path.exists(container.path(path)), f"{path} is left")
    install([debs["dflockd"]])
    with connect() as c:
        check(fence_of(token_of(c.req("l", "another", "60"))) > fence, "the fence afterwards")


@test("purged, nothing of it is left: no file, no unit, no account", deadline=180)
def purged():
    container.run("dpkg", "--purge", "dflockd", "dflock", "libdflock0")
    eventually(lambda: not processes(), SLOW, "processes are left")
    check(not os.path.exists(container.path("/run/dflockd")), "/run/dflockd is left")
    check_eq(sorted(files() - before), [], "what is left")
    check_eq(systemctl("list-units", "--all", "--plain", "--no-legend", "dflockd*"), "", "units")
    check_eq(systemctl("list-unit-files", "--no-legend", "dflockd*", ok=False), "", "unit files")
    check_eq(systemctl("is-system-running"), "running", "the system")


if __name__ == "__main__":
    container.boot()
    main(jobs=1)
