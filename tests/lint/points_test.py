"""points_test.py - every system call that master and workers make while they serve goes through SYS()
and has its places in src/base/points.def, so that tests can end the process there."""

import glob
import os
import re
import sys

top = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))

CALLS = """accept accept4 bind chmod chown close close_range connect epoll_create1 epoll_ctl epoll_pwait
epoll_pwait2 epoll_wait eventfd execve fchmod fchown fcntl fdatasync flock fork fstat fsync ftruncate
getdents64 getpeername getrandom getsockname getsockopt ioctl kill link listen lseek lstat madvise
memfd_create mkdir mmap mprotect munmap nanosleep clock_nanosleep open openat pause pidfd_open pipe2
poll ppoll prctl pread preadv prlimit pthread_create pthread_mutex_clocklock pthread_mutex_consistent
pthread_mutex_lock pthread_mutex_timedlock pthread_mutex_trylock pthread_mutex_unlock
pthread_sigmask pwrite pwritev raise read readv recv recvfrom recvmsg rename rmdir sched_yield select
send sendfile sendmsg sendto setsockopt shutdown sigaction signal signalfd sigprocmask socket
socketpair sd_notify sd_notify_barrier sd_pid_notify_with_fds splice stat statx syscall tgkill timerfd_create unlink usleep vfork wait wait4 waitid
waitpid write writev""".split()
BARE = re.compile(r"(?<![\w.>])(" + "|".join(CALLS) + r")\(")

# (file, function or None for all): what runs before the first fork or after the last death, and
# what only an old kernel needs.
EXEMPT = {
    ("base/io.c", "set_flag"): "start-up",
    ("base/io.c", "io_write_full"): "start-up",
    ("base/io.c", "io_read_full"): "start-up; and of a silent worker, when silence alone counts without it",
    ("base/io.c", "io_read_file"): "the same",
    ("base/io.c", "close_listed"): "kernels without close_range(2), between fork and takeover",
    ("base/log.c", "stderr_is_journal"): "start-up",
    ("base/point.c", None): "the places themselves",
    ("net/listen.c", None): "start-up and the end",
    ("supervisor/notify.c", "sd_notify"): "its stand-in, in a build without libsystemd",
    ("supervisor/notify.c", "sd_notify_barrier"): "likewise",
    ("supervisor/notify.c", "sd_pid_notify_with_fds"): "likewise",
    ("shm/dumpfile.c", "check_head"): "start-up",
    ("shm/dumpfile.c", "read_at"): "start-up",
    ("shm/region.c", None): "start-up",
    ("supervisor/rundir.c", None): "start-up",
    ("supervisor/bequest.c", "descriptor"): "start-up",
    ("supervisor/bequest.c", "bequest_read"): "start-up",
    ("supervisor/upgrade.c", "relaunch_note"): "start-up",
}


def strip(text):
    """Without comments and strings, with the same lines."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def read(path):
    with open(os.path.join(top, path), encoding="utf-8") as f:
        return f.read()


files = {}
for path in sorted(glob.glob(os.path.join(top, "src/*/*.[ch]"))):
    name = os.path.relpath(path, os.path.join(top, "src"))
    if name.split("/")[0] in ("base", "shm", "net", "serving", "worker", "http", "supervisor"):
        files[name] = strip(read(path))


def functions(text):
    """(line, name of the function it is in or "", line) for each line."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        m = re.match(r"[a-z][\w *]*?(\w+)\([^;]*$", line)
        if m and not line.startswith(" "):
            current = m[1]
        yield number, current, line


def bare_calls():
    wrong, used = [], set()
    for name, text in files.items():
        # A call may stand on the line after SYS(NAME,
        joined = re.sub(r"(SYS\(\w+,)\s*\n\s*", r"\1 ", text)
        for number, function, line in functions(joined):
            for m in BARE.finditer(line):
                if re.search(r"SYS\(\w+, $", line[:m.start()]):
                    continue
                key = next((k for k in ((name, function), (name, None)) if k in EXEMPT), None)
                if key:
                    used.add(key)
                    continue
                wrong.append(f"src/{name}: {function}() calls {m[1]}() without SYS()")
    unused = [f"{name} {function or ''} is exempt and calls nothing" for name, function in EXEMPT
              if (name, function) not in used]
    return wrong + unused


def rows():
    text = re.sub(r"/\*.*?\*/", "", read("src/base/points.def"), flags=re.S)
    return re.findall(r"^(CALL|STEP)\((\w+), (\w+), \"[^\"]+\"\)$", text, re.M), text


def rows_are_used():
    """A CALL has its SYS(), a STEP its POINT(), and each stands in one place only."""
    found, text = rows()
    # The same call in two places of one function would be told apart by nobody.
    several = {"STREAM_OUTQ", "POINT_KEY"}
    wrong = []
    for line in text.splitlines():
        if line.strip() and not re.match(r"(CALL|STEP)\(\w+, (WORKER|MASTER|BOTH|START|WRITER|HTTP), \"", line):
            wrong.append(f"points.def: {line}")
    for kind, name, _ in found:
        macro = "SYS" if kind == "CALL" else "POINT"
        n = sum(len(re.findall(rf"\b{macro}\({name}\b", t)) for t in files.values())
        if n == 0 or (n > 1 and name not in several):
            wrong.append(f"{macro}({name}) stands in {n} places")
    return wrong


def tests_take_all():
    """Nobody is left out: who is a word that one of the tests goes by."""
    found, _ = rows()
    return [] if len(found) > 80 and {w for _, _, w in found} == {"WORKER", "MASTER", "BOTH",
                                                                 "START", "WRITER", "HTTP"} else ["rows are missing"]


results = [(f"every system call has its places ({len(files)} files)", bare_calls()),
           ("every row of points.def has its place in the source", rows_are_used()),
           ("there are rows of all sorts", tests_take_all())]
for n, (text, wrong) in enumerate(results, 1):
    print(f"{'not ok' if wrong else 'ok'} {n} - {text}")
    for line in wrong:
        print(f"# {line}")
print(f"1..{len(results)}")
sys.exit(any(wrong for _, wrong in results))
