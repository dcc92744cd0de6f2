"""Processes of the check: where they run, as whom, and how they end.

Each is ended by its pid, and none outlives the check, however that ends. What the check starts
itself dies with it (`setpriv --pdeathsig`). Patroni starts Postgres apart from itself, so that a
crash of Patroni does not end it: a guard, a child of the check, ends what is left.
"""
import os
import pwd
import queue
import random
import signal
import socket
import subprocess
import threading
import time


class Failed(Exception):
    """The check cannot go on: what it needs does not work."""


def eventually(what, ask, seconds=120, pause=0.05):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer, problem = ask(), None
        except (OSError, ValueError, LookupError) as error:
            answer, problem = None, error
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"within {seconds} s it never came: {what}" + (f" ({problem})" if problem else ""))
        time.sleep(pause)


class Ports:
    """Free ports of 127.0.0.1, below those that the kernel gives to connections: a server that is
    started again finds its port free."""

    def __init__(self):
        self.taken = set()

    def take(self):
        while True:
            port = random.randrange(20000, 32000)
            if port in self.taken:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.taken.add(port)
            return port


def service_user():
    """Whom the servers run as: this user, or `postgres` or `nobody` in place of root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Failed("root cannot run Postgres, and there is no user postgres or nobody to run it as")


class Spawner:
    """Starts processes, all from one thread: the kernel ends a process with the thread that started
    it, not with the program."""

    def __init__(self, folder):
        self.folder = folder
        self.user = service_user()
        self.requests = queue.Queue()
        self.running = []
        threading.Thread(target=self.work, daemon=True, name="spawner").start()

    def work(self):
        while True:
            arguments, answer = self.requests.get()
            try:
                answer.put(subprocess.Popen(**arguments))
            except OSError as error:
                answer.put(error)

    def start(self, name, command, env=None, as_user=False, output=None):
        """Starts a process. Its output goes to NAME.log, or its standard output into a pipe."""
        switch = ["--pdeathsig=KILL"]
        if as_user and os.geteuid() == 0:
            switch += [f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--init-groups"]
        base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder)}
        answer = queue.Queue()
        with open(self.folder / "logs" / f"{name}.log", "ab") as log:
            self.requests.put((dict(
                args=["setpriv", *switch, "--", *map(str, command)], cwd=self.folder, env={**base, **(env or {})},
                stdin=subprocess.DEVNULL, stdout=output or log, stderr=log, start_new_session=True), answer))
            started = answer.get()
        if isinstance(started, OSError):
            raise Failed(f"{name} does not start: {started}")
        process = Process(name, started)
        self.running.append(process)
        return process

    def run(self, name, command, env=None, as_user=False, seconds=60, allowed=(0,)):
        """Runs a command to its end, and returns its standard output and exit code."""
        process = self.start(name, command, env, as_user, output=subprocess.PIPE)
        try:
            out, _ = process.popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.end()
            raise Failed(f"{name} took longer than {seconds} s; see logs/{name}.log") from None
        self.running.remove(process)
        code = process.popen.returncode
        if allowed is not None and code not in allowed:
            raise Failed(f"{name} ended with exit code {code}; see logs/{name}.log")
        return out.decode(), code

    def end_all(self):
        for process in reversed(self.running):
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        end = time.monotonic() + 5
        for process in self.running:
            process.end(max(0.1, end - time.monotonic()))
        self.running.clear()


class Process:
    def __init__(self, name, popen):
        self.name, self.popen, self.pid = name, popen, popen.pid

    @property
    def exit_code(self):
        return self.popen.poll()

    def signal(self, number):
        # Popen asks first whether the process has ended, so its pid cannot be another's by now.
        self.popen.send_signal(number)

    def end(self, seconds=10.0):
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.popen.wait(10)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(10)


def parents():
    """The parent of each process."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                found[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            pass  # it has ended meanwhile
    return found


def tree(root):
    """A process and all that descend from it, itself first."""
    found, rest = [root], parents()
    for pid in found:
        found += [child for child, parent in rest.items() if parent == pid]
    return found


def signal_tree(root, number):
    """Sends a signal to a process and its descendants. The process gets it first: one that is
    stopped or killed starts no others."""
    for pid in tree(root):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def postmaster(data):
    """The pid of the Postgres that runs in a data directory; `None` if none does."""
    try:
        with open(data / "postmaster.pid", encoding="utf-8") as file:
            pid = int(file.readline())
        if os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(data):
            return pid
    except (OSError, ValueError):
        pass
    return None


def guard(folders):
    """Starts a process that ends the servers in these directories once the check has gone."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        return writing
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        os.read(reading, 1)  # returns when the check has ended, for whatever reason
        for data in folders:
            if found := postmaster(data):
                signal_tree(found, signal.SIGKILL)
    finally:
        os._exit(0)
