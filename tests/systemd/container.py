"""container.py - a small Debian with systemd as pid 1, and dflockd installed in it by make install.

debootstrap makes the image once, from the mirror that this machine's apt uses, and it is kept in the
build directory; each run works on a copy. systemd-nspawn boots it, without a network but its own
loopback, without telling any service manager of this machine. Root only.

    c = Container(build directory)
    c.boot()             also enters its network: sockets made afterwards are in there
    c.run("systemctl", "start", "dflockd")      → stdout; a failure raises, unless ok=False
    c.processes()        {pid on this machine: Process} of the container
    hang(pid)            stops a process, come what may but SIGKILL
    c.path("/etc/x")     of a file of the container, seen from here
    c.destroy()
"""

import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import threading
import time

from harness import Failure, check, diag, eventually, running

# Besides what the program is linked with.
PACKAGES = ["systemd", "systemd-sysv"]
BOOT = 120.0  # seconds
TRIES = 3  # for what comes from the mirror
CLONE_NEWNET = 0x40000000
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def hang(pid):
    """Stops a process for good. SIGSTOP would not: systemd sends SIGCONT after SIGTERM."""
    done = threading.Event()
    wrong = []

    def trace():
        if libc.ptrace(PTRACE_SEIZE, pid, None, None) or libc.ptrace(PTRACE_INTERRUPT, pid, None, None):
            wrong.append(os.strerror(ctypes.get_errno()))
            done.set()
            return
        while True:  # its death is the tracer's to see first
            _, status = os.waitpid(pid, WALL)
            done.set()
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                return

    threading.Thread(target=trace, daemon=True).start()
    check(done.wait(10) and not wrong, f"{pid} cannot be stopped: {wrong}")


class Process:
    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/status") as f:
            self.status = dict(x.rstrip("\n").split(":\t", 1) for x in f if ":\t" in x)
        self.inner = int(self.status["NSpid"].split()[-1])  # its pid in the container
        self.name = self.status["Name"]
        self.uid = int(self.status["Uid"].split()[0])


def output(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def linked(program):
    """The packages that a program's libraries are from."""
    found = set()
    for path in re.findall(r"=> (/\S+)", output("ldd", program)):
        # Packages name files in /lib or in /usr/lib, which are the same directory now.
        names = {path, os.path.realpath(path)}
        names |= {x[4:] for x in names if x.startswith("/usr/")} | {"/usr" + x for x in names}
        done = subprocess.run(["dpkg-query", "-S", *sorted(names)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        found |= {x.split(":")[0] for x in done.stdout.splitlines()}
    return found


def mirror():
    """(URL, name of the release) that this machine's apt uses."""
    with open("/etc/os-release") as f:
        release = re.search(r"^VERSION_CODENAME=(\S+)$", f.read(), re.M)[1]
    for line in output("apt-get", "indextargets", "--format", "$(SUITE) $(CODENAME) $(REPO_URI)",
                       "Created-By: Packages", "Component: main").splitlines():
        suite, codename, uri = line.split(" ", 2)
        if release in (codename, suite) and not re.search(r"-(security|updates)", suite):
            return uri, release
    raise Failure(f"apt has no source of {release}, main")


class Container:
    def __init__(self, build):
        self.program = os.environ["DFLOCKD"]
        self.build = build
        self.directory = os.path.join(build, "tests/systemd/container")
        self.image = os.path.join(self.directory, "image")
        self.root = os.path.join(self.directory, "root")
        self.nspawn = None
        self.leader = None  # pid 1 of the container, as this machine calls it

    # --- making it

    def make_image(self):
        packages = ",".join(sorted(linked(self.program) | set(PACKAGES)))
        uri, release = mirror()
        label = os.path.join(self.directory, "image.packages")
        wanted = f"{release} {packages}\n"
        if os.path.exists(label) and open(label).read() == wanted:
            return
        os.makedirs(self.directory, exist_ok=True)
        for left in reversed(range(TRIES)):
            for path in (self.image, label):
                subprocess.run(["rm", "-rf", path], check=True)
            try:
                output("debootstrap", "--variant=minbase", f"--include={packages}", release,
                       self.image, uri)
                break
            except Failure:
                if not left:
                    raise
                time.sleep(10)
        for path in ("var/cache/apt", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(os.path.join(self.image, path), ignore_errors=True)
        with open(label, "w") as f:
            f.write(wanted)

    def install(self):
        subprocess.run(["rm", "-rf", self.root], check=True)
        output("cp", "-a", "--reflink=auto", self.image, self.root)
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        output("make", "-C", self.build, "install", f"DESTDIR={self.root}", env=env)

    def boot(self):
        running.add(self)
        self.make_image()
        self.install()
        log = open(os.path.join(self.directory, "console.log"), "wb")
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no",
             "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--private-network",
             "--console=pipe", "--machine=dflockd-test", f"--directory={self.root}", "--boot"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
        log.close()
        self.leader = eventually(self.find_leader, BOOT, "no pid 1 in the container")
        state = eventually(self.booted, BOOT, "the container does not finish booting")
        if state != "running":
            diag(f"the container is {state}: " + self.run("systemctl", "--failed", "--no-legend"))
        self.enter_network()

    def find_leader(self):
        check(self.nspawn.poll() is None, "the container has ended: " + self.console())
        children = f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children"
        with open(children) as f:
            for pid in f.read().split():
                with contextlib.suppress(OSError):  # a short-lived one
                    if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "systemd":
                        return int(pid)
        return None

    def booted(self):
        check(self.nspawn.poll() is None, "the container has ended: " + self.console())
        state = self.run("systemctl", "is-system-running", ok=False).strip()
        return state if state in ("running", "degraded") else None

    def console(self):
        with open(os.path.join(self.directory, "console.log"), errors="replace") as f:
            return f.read()[-3000:]

    def enter_network(self):
        fd = os.open(f"/proc/{self.leader}/ns/net", os.O_RDONLY)
        check(libc.setns(fd, CLONE_NEWNET) == 0, "the container's network cannot be entered")
        os.close(fd)

    # --- using it

    def run(self, *argv, ok=True):
        done = subprocess.run(["nsenter", "--all", "--target", str(self.leader), *argv],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if ok and done.returncode != 0:
            raise Failure(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if ok else done.stdout + done.stderr

    def path(self, inside):
        return f"/proc/{self.leader}/root{inside}"

    def write(self, inside, text, mode=0o644, group=0):
        """Replaces it at once, as an administrator's tools do."""
        path = self.path(inside)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            os.fchown(f.fileno(), 0, group)
            os.fchmod(f.fileno(), mode)
            f.write(text)
        os.rename(path + ".new", path)

    def remove(self, inside):
        subprocess.run(["rm", "-rf", self.path(inside)], check=True)

    def processes(self):
        found, space = {}, os.readlink(f"/proc/{self.leader}/ns/pid")
        for path in glob.glob("/proc/[0-9]*"):
            try:
                if os.readlink(path + "/ns/pid") == space:
                    process = Process(int(path[6:]))
                    if not process.status["State"].startswith("Z"):
                        found[process.pid] = process
            except (OSError, KeyError):
                pass  # it has ended
        return found

    # --- its end

    def destroy(self):
        """What the harness calls at the end, whatever has happened."""
        running.discard(self)
        if not self.nspawn:
            return
        timer = threading.Timer(20, self.kill)
        timer.start()
        self.nspawn.send_signal(signal.SIGTERM)  # it has pid 1 shut down
        self.nspawn.wait()
        timer.cancel()
        self.nspawn = None
        subprocess.run(["rm", "-rf", self.root], check=False)

    def kill(self):
        for pid in (self.leader, self.nspawn.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, TypeError):
                pass
