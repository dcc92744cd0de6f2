"""Readers that keep what they were given, and go on where the ledger tells them.

A follower's list is what a program would have in its tables. It grows by each event, and is cut
back to the shared position when the follower is told of a divergence. It must end as the log.
"""
import http.client
import json
import re
import socket
import subprocess
import threading
import time

from processes import Failed


class Told:
    """A divergence: when, where the histories part, and what the follower took back."""

    def __init__(self, shared, dropped):
        self.at, self.shared, self.dropped = time.monotonic(), shared, dropped


class Follower:
    def __init__(self, name, way):
        # `way`: how its service, or it, comes to Postgres: "proxy" or "hosts".
        self.name, self.way = name, way
        self.lock = threading.Lock()
        self.events, self.told, self.violations = [], [], []
        self.last_at, self.longest_gap = None, 0.0
        self.ends = False

    def add(self, position, event):
        with self.lock:
            now = time.monotonic()
            if self.last_at:
                self.longest_gap = max(self.longest_gap, now - self.last_at)
            self.last_at = now
            if position != len(self.events) + 1:
                self.violations.append(
                    f"got position {position} behind {len(self.events)}: "
                    + ("again" if position <= len(self.events) else "a gap"))
                del self.events[max(0, position - 1):]
                self.events += [None] * (position - 1 - len(self.events))
            self.events.append(event)

    def diverge(self, shared):
        """`shared` is a place: POSITION.EPOCH."""
        position = int(shared.split(".")[0])
        with self.lock:
            self.told.append(Told(position, self.events[position:]))
            del self.events[position:]

    def go_back(self, position):
        with self.lock:
            del self.events[position:]

    def position(self):
        with self.lock:
            return len(self.events)

    def has(self, log):
        with self.lock:
            return self.events == log

    def reset_gap(self):
        with self.lock:
            self.last_at, self.longest_gap = None, 0.0


class EventSource(Follower):
    """Server-sent events by the rules of a browser's EventSource: it reconnects with the last id,
    and does not come back from an answer that is no stream."""

    def __init__(self, name, service, way):
        super().__init__(name, way)
        self.service, self.last_id, self.retry = service, "", 1.0
        self.socket = None
        threading.Thread(target=self.run, daemon=True, name=name).start()

    def run(self):
        while not self.ends:
            try:
                if not self.stream():
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass  # the connection broke, as an EventSource expects
            time.sleep(self.retry)

    def stream(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port)
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.service.token}"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        try:
            connection.request("GET", "/v1/events", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200 or not answer.getheader("Content-Type", "").startswith("text/event-stream"):
                self.violations.append(
                    f"the answer {answer.status} closed the EventSource for ever: {answer.read(300).decode()}")
                return False
            self.read(answer)
        finally:
            connection.close()
        return True

    def read(self, answer):
        name, data = "message", []
        while line := answer.readline():
            text = line.decode().rstrip("\r\n")
            field, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if not text:
                if data:
                    self.dispatch(name, "\n".join(data))
                name, data = "message", []
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_id = value
            elif field == "retry":
                self.retry = int(value) / 1000

    def dispatch(self, name, data):
        content = json.loads(data)
        if name == "diverged":
            self.diverge(content["shared"])
        else:
            self.add(int(content["position"]), content["id"])


class Tail(Follower):
    """`jobledger tail`, started again where its message says when it ends with a divergence."""

    def __init__(self, name, ledger, way):
        super().__init__(name, way)
        self.ledger, self.process = ledger, None
        self.address = ledger.url("follow", way)
        threading.Thread(target=self.run, daemon=True, name=name).start()

    def run(self):
        place = "0"
        while not self.ends:
            seen = self.log_size()
            self.process = self.ledger.spawner.start(
                self.name, [self.ledger.binary, "tail", "--json", "--after", place],
                self.ledger.environment(self.address), output=subprocess.PIPE)
            for line in self.process.popen.stdout:
                content = json.loads(line)
                self.add(int(content["position"]), content["id"])
            code = self.process.popen.wait()
            self.ledger.spawner.running.remove(self.process)
            said = re.findall(r"start after (\d+\.[0-9a-f]{8})", self.log_text(seen))
            if self.ends:
                return
            if not said:
                self.violations.append(f"tail exited with {code} and did not say where to go on")
                return
            place = said[-1]
            self.diverge(place)

    @property
    def log(self):
        return self.ledger.spawner.folder / "logs" / f"{self.name}.log"

    def log_size(self):
        return self.log.stat().st_size if self.log.exists() else 0

    def log_text(self, start):
        with open(self.log, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")


class Program(Follower):
    """Examples of Swift: the client library, and a durable subscription. The program goes on after
    a divergence by itself, and says so."""

    def __init__(self, name, ledger, way, words, environment):
        super().__init__(name, way)
        self.process = ledger.spawner.start(
            name, [ledger.follower, *words], environment, output=subprocess.PIPE)
        threading.Thread(target=self.run, daemon=True, name=name).start()

    def run(self):
        is_again = False
        for line in self.process.popen.stdout:
            content = json.loads(line)
            if "shared" in content:
                self.diverge(content["shared"])
            elif "again" in content:
                is_again = True
            else:
                if is_again:
                    # What was not acknowledged comes again.
                    self.go_back(int(content["position"]) - 1)
                is_again = False
                self.add(int(content["position"]), content["id"])
        code = self.process.popen.wait()
        if not self.ends:
            self.violations.append(f"the program exited with {code}")


def start_all(ledger):
    """Followers of each kind, by each way."""
    one, two = ledger.services
    client = {"JOBLEDGER_URL": f"http://127.0.0.1:{two.port}", "JOBLEDGER_TOKEN": ledger.token}
    return [
        EventSource("SSE 1", one, "proxy"), EventSource("SSE 2", two, "hosts"),
        Tail("tail 1", ledger, "proxy"), Tail("tail 2", ledger, "hosts"),
        Program("client", ledger, "hosts", ["client"], client),
        Program("durable", ledger, "proxy", ["durable", "check"], ledger.environment(ledger.url("follow", "proxy"))),
    ]
