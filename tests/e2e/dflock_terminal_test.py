#!/usr/bin/env python3
"""dflock_terminal_test.py - dflock at a terminal, in a shell with job control: Ctrl-C, Ctrl-Z, fg, bg,
who may read. The shell is bash in a pty."""

import os
import pty
import re
import select
import signal
import time

from dflock import (DFLOCK, ENV, LONG, becomes_free, gone, is_held, lenient_server, wait_for_line)
from harness import check, check_eq, eventually, fail, main, stat_of, state_of, temp_dir, test, token_of

PROMPT = "ready> "


class Shell:
    """bash at a terminal of its own."""

    def __init__(self, server):
        self.dir = temp_dir()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {**ENV, "PS1": PROMPT, "PS2": "", "TERM": "dumb", "HISTFILE": "", "DIR": self.dir,
                   "DFLOCK": DFLOCK, "DFLOCK_SERVERS": f"127.0.0.1:{server.port}"}
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        self.text = ""
        self.at = 0  # what has been looked at
        self.expect(re.escape(PROMPT))

    def __enter__(self):
        return self

    def __exit__(self, *what):
        os.close(self.fd)  # a hang-up
        end = time.monotonic() + LONG
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)

    def type(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        self.type(text + "\n")

    def expect(self, regex, timeout=LONG):
        """The first match in what was not looked at yet."""
        end = time.monotonic() + timeout
        while True:
            m = re.search(regex, self.text[self.at:])
            if m:
                self.at += m.end()
                return m
            left = end - time.monotonic()
            if not select.select([self.fd], [], [], max(left, 0))[0]:
                fail(f"no {regex!r} on the terminal: {self.text[-800:]!r}")
            self.text += os.read(self.fd, 4096).decode("utf-8", "replace")

    def run(self, text):
        """A line of which the shell says the exit code."""
        self.line(f"{text}; echo \"code=$?=\"")

    def code(self):
        return int(self.expect(r"code=(\d+)=\r?\n")[1])

    def knows_that_it_stopped(self):
        """Before that, fg would be of a job that runs."""
        def look():
            self.line("jobs")
            return self.expect(r"\[1\]\S*\s+(Stopped|Running)")[1] == "Stopped"

        eventually(look, LONG, "the shell's job is not stopped")

    def path(self, name):
        return os.path.join(self.dir, name)


def pid_in(path):
    return int(wait_for_line(path))


@test("the command reads from the terminal, and is in its foreground", rules=["R20"])
def reads():
    with lenient_server() as server, Shell(server) as shell:
        shell.run("$DFLOCK k sh -c 'read x; echo \"got[$x]\"'")
        shell.line("a line")
        shell.expect(r"got\[a line\]")
        check_eq(shell.code(), 0, "the exit code")
        shell.run("$DFLOCK k sh -c 'ps -o tpgid= -o pgid= -p $$ | sed s/^/T/'")
        m = shell.expect(r"T *(\d+) +(\d+)")
        check_eq(m[1], m[2], "the terminal's group, the command's")
        check_eq(shell.code(), 0, "the exit code")


@test("Ctrl-C ends the command and dflock, and the lock is free", rules=["R21"])
def ctrl_c():
    with lenient_server() as server, Shell(server) as shell:
        shell.run("$DFLOCK k sh -c 'echo $$ >$DIR/pid; exec sleep 1000'")
        pid = pid_in(shell.path("pid"))
        shell.type("\x03")
        shell.expect(re.escape(PROMPT))
        check(gone(pid), "the command lives")
        shell.line("echo code=$?=")
        check_eq(shell.code(), 130, "the exit code")
        becomes_free(server, "k")


@test("Ctrl-C ends the script that runs dflock, as if it had run the command itself",
      rules=["R21"])
def ctrl_c_script():
    with lenient_server() as server, Shell(server) as shell:
        with open(shell.path("script"), "w", encoding="utf-8") as f:
            f.write("$DFLOCK k sh -c 'echo $$ >$DIR/pid; exec sleep 1000'\necho 'not' 'reached'\n")
        shell.line("bash $DIR/script; echo after $?")
        pid = pid_in(shell.path("pid"))
        shell.type("\x03")
        shell.expect(re.escape(PROMPT))
        check(gone(pid), "the command lives")
        check("not reached" not in shell.text, "the script went on")


@test("Ctrl-C and Ctrl-backslash while dflock waits for the lock end it", rules=["R21", "R14"])
def ctrl_c_waiting():
    with lenient_server() as server, Shell(server) as shell:
        token_of(server.client().req("l", "k", "0 600"))
        for key, code in [("\x03", 130), ("\x1c", 131)]:
            shell.line("$DFLOCK -v k true")
            shell.expect(r"asking \S+\r\n")
            shell.type(key)
            shell.expect(re.escape(PROMPT))
            shell.line("echo code=$?=")
            check_eq(shell.code(), code, "the exit code")


@test("Ctrl-Z stops the command and dflock, the lock is kept; fg lets both go on", rules=["R22"],
      deadline=120)
def ctrl_z():
    with lenient_server(["--default-lease-ttl", "20"]) as server, Shell(server) as shell:
        shell.line("$DFLOCK --kill-after 0 k sh -c 'echo $$ >$DIR/pid; read x; echo \"got[$x]\"; exit 9'")
        pid = pid_in(shell.path("pid"))
        shell.type("\x1a")
        shell.expect(r"Stopped")
        shell.expect(re.escape(PROMPT))
        check_eq(state_of(pid), "T", "the command's state")
        # Longer than its lease: somebody renews it.
        end = time.monotonic() + 23
        while time.monotonic() < end:
            check(is_held(server, "k"), "the lock was given away while the command was stopped")
            time.sleep(0.5)
        shell.line("fg")
        shell.expect(r"fg\r\n")
        eventually(lambda: state_of(pid) == "S", LONG, "the command does not go on")
        shell.line("more")
        shell.expect(r"got\[more\]")
        shell.expect(re.escape(PROMPT))
        shell.line("echo code=$?=")
        check_eq(shell.code(), 9, "the exit code")


@test("bg lets the command go on without the terminal; when it reads it stops, until fg",
      rules=["R22", "R23"], deadline=120)
def ctrl_z_bg():
    with lenient_server() as server, Shell(server) as shell:
        # Not sh: Debian's cannot be stopped while it is about to start a program (vfork).
        shell.line("$DFLOCK k bash -c 'echo $$ >$DIR/pid; while ! [ -e $DIR/go ]; do sleep 0.1; done; "
                   "read x; echo \"got[$x]\"'")
        pid = pid_in(shell.path("pid"))
        shell.type("\x1a")
        shell.expect(r"Stopped")
        shell.line("bg")
        shell.expect(r"bg\r\n")
        eventually(lambda: state_of(pid) in "SR", LONG, "the command does not go on")
        shell.line("echo 'shell' 'reads'")
        shell.expect("shell reads")
        with open(shell.path("go"), "w", encoding="utf-8"):
            pass
        eventually(lambda: state_of(pid) == "T", LONG, "it is not stopped when it reads")
        shell.line("echo 'shell' 'still reads'")
        shell.expect("shell still reads")
        shell.knows_that_it_stopped()
        shell.line("fg")
        shell.expect(r"fg\r\n")
        eventually(lambda: state_of(pid) != "T", LONG, "the command does not go on")
        shell.line("at last")
        shell.expect(r"got\[at last\]")


@test("a background job that reads is stopped, and gets the terminal by fg", rules=["R23"])
def background():
    with lenient_server() as server, Shell(server) as shell:
        shell.line("$DFLOCK k sh -c 'echo $$ >$DIR/pid; read x; echo \"got[$x]\"' &")
        pid = pid_in(shell.path("pid"))
        eventually(lambda: state_of(pid) == "T", LONG, "it is not stopped when it reads")
        shell.line("echo 'shell' 'reads'")
        shell.expect("shell reads")
        shell.knows_that_it_stopped()
        shell.line("fg")
        shell.expect(r"fg\r\n")
        eventually(lambda: state_of(pid) != "T", LONG, "the command does not go on")
        shell.line("now")
        shell.expect(r"got\[now\]")


@test("in a pipeline the others may read from the terminal, and Ctrl-C ends all", rules=["R24"])
def pipeline():
    with lenient_server() as server, Shell(server) as shell:
        # What comes behind reads the terminal while the command runs.
        shell.line("$DFLOCK k sh -c 'echo $$ >$DIR/pid; exec sleep 1000' | "
                   "bash -c 'read x </dev/tty; echo \"pager[$x]\"; exec sleep 1001'")
        pid = pid_in(shell.path("pid"))
        shell.line("page")
        shell.expect(r"pager\[page\]")
        check(not gone(pid), "the command has ended")
        shell.type("\x03")
        shell.expect(re.escape(PROMPT))
        eventually(lambda: gone(pid), LONG, "the command lives")


@test("in a pipeline a command that wants the terminal gets it", rules=["R24"])
def pipeline_reads():
    with lenient_server() as server, Shell(server) as shell:
        shell.line("$DFLOCK k sh -c 'read x </dev/tty; echo \"got[$x]\"' | cat")
        time.sleep(0.3)  # not needed: so that it asks before the line is there, too
        shell.line("mine")
        shell.expect(r"got\[mine\]")
        shell.expect(re.escape(PROMPT))


@test("the terminal is the shell's again after dflock was killed", rules=["R25"])
def killed():
    with lenient_server() as server, Shell(server) as shell:
        with open(shell.path("script"), "w", encoding="utf-8") as f:
            f.write("$DFLOCK k sh -c 'echo $PPID >$DIR/pid; exec sleep 1000'\n"
                    "while ! [ -e $DIR/go ]; do sleep 0.1; done\n"
                    "read x; echo \"script[$x]\"\n")
        # It has no job control, so nobody but the guardian gives the terminal back to it.
        shell.line("bash $DIR/script")
        guardian = pid_in(shell.path("pid"))
        os.kill(int(stat_of(guardian)[1]), signal.SIGKILL)
        eventually(lambda: gone(guardian), LONG, "the guardian lives")
        with open(shell.path("go"), "w", encoding="utf-8"):
            pass
        shell.line("text")
        shell.expect(r"script\[text\]")


@test("when the terminal hangs up, command and lock are gone", rules=["R21"])
def hangup():
    with lenient_server() as server:
        with Shell(server) as shell:
            shell.line("$DFLOCK k sh -c 'echo $$ >$DIR/pid; exec sleep 1000'")
            pid = pid_in(shell.path("pid"))
        eventually(lambda: gone(pid), LONG, "the command lives")
        becomes_free(server, "k")


@test("dflock stopped by Ctrl-Z while it waits keeps its place", rules=["R22"])
def ctrl_z_waiting():
    with lenient_server() as server, Shell(server) as shell:
        holder = server.client()
        token = token_of(holder.req("l", "k", "0 600"))
        shell.line("$DFLOCK -v k sh -c 'echo \"ran[$0]\"' yes")
        shell.expect(r"asking \S+\r\n")
        shell.type("\x1a")
        shell.expect(r"Stopped")
        shell.line("fg")
        shell.expect(r"fg\r\n")
        check_eq(holder.req("r", "k", token), "ok", "the release")
        shell.expect(r"ran\[yes\]")


if __name__ == "__main__":
    main(jobs=2)
