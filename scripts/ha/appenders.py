"""Callers that append, over HTTP and by SQL, and remember what they were told.

Each has one event under way. It sends the event again, with the same id, until it gets an answer
that settles it. An appender never gives an event up, and never takes an unknown outcome for one.
"""
import http.client
import json
import threading
import time
import uuid

import sql

# Longer than any answer should take. A caller that gets none sends the event again.
LONGEST_CALL = 45.0
PAUSE = 0.03
RETRY_PAUSE = 0.1
EVENTS_OF_A_JOB = 60


class Unsettled(Exception):
    """Nobody knows whether the event was written."""


class NotWritten(Exception):
    """The event was not written; try again."""


class Refused(Exception):
    """The ledger refused the event, so it will not be written."""


class Acknowledged:
    def __init__(self, event, position, asked, attempts):
        self.event, self.position, self.attempts = event, position, attempts
        self.asked, self.at = asked, time.monotonic()


class Appender:
    def __init__(self, name, way):
        # `way`: how its service, or it, comes to Postgres: "proxy" or "hosts".
        self.name, self.way = name, way
        # Whether nobody tells it that the server it waits for leads no more: a driver of its own
        # has a list of hosts.
        self.waits_alone = False
        self.acknowledged, self.refused, self.violations = [], [], []
        # When an attempt had an unknown outcome, and what every attempt came to.
        self.unknown, self.outcomes = [], {}
        self.works, self.ends = threading.Event(), False
        self.is_idle = threading.Event()
        self.is_idle.set()
        self.job, self.number = None, 0
        self.thread = threading.Thread(target=self.run, daemon=True, name=name)
        self.thread.start()

    def run(self):
        while not self.ends:
            if not self.works.is_set():
                self.is_idle.set()
                self.works.wait(0.2)
                continue
            self.is_idle.clear()
            self.append_one()
            time.sleep(PAUSE)

    def next_event(self):
        if self.job is None or self.number > EVENTS_OF_A_JOB:
            self.job, self.number = f"{self.name}-{uuid.uuid4().hex[:12]}", 0
        self.number += 1
        if self.number == 1:
            return "queued", {"name": self.name, "total": EVENTS_OF_A_JOB}
        if self.number > EVENTS_OF_A_JOB:
            return "finished", {}
        return "progress", {"completed": self.number - 1}

    def append_one(self):
        kind, data = self.next_event()
        event, attempts, asked = str(uuid.uuid4()), 0, time.monotonic()
        while not self.ends:
            attempts += 1
            try:
                position = self.attempt(event, kind, data)
                self.count("written")
                self.acknowledged.append(Acknowledged(event, position, asked, attempts))
                return
            except Unsettled as why:
                self.unknown.append((time.monotonic(), event))
                self.count(f"unknown: {why}")
            except NotWritten as why:
                self.count(f"not written: {why}")
            except Refused as why:
                # Its job was lost, or ended in the surviving history. Begin another.
                self.count(f"refused: {why}")
                self.refused.append((time.monotonic(), event, str(why)))
                self.job = None
                return
            time.sleep(RETRY_PAUSE)

    def count(self, outcome):
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def attempt(self, event, kind, data):
        raise NotImplementedError


class HTTPAppender(Appender):
    def __init__(self, name, service, way):
        self.service, self.connection = service, None
        super().__init__(name, way)

    def attempt(self, event, kind, data):
        try:
            status, text = self.post(event, kind, data)
        except ConnectionRefusedError as error:
            self.connection = None
            raise NotWritten("the service is away") from error
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            raise Unsettled(type(error).__name__) from error
        if status in (200, 201):
            return json.loads(text)["position"]
        code = self.code(text)
        if status == 503:
            raise Unsettled("503 outcome_unknown") if code == "outcome_unknown" else NotWritten(f"503 {code}")
        if status in (404, 409, 422):
            raise Refused(code)
        self.violations.append(f"{self.service.name} answered {status} to an append: {text[:200]}")
        raise Unsettled(f"{status} {code}")

    def post(self, event, kind, data):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=LONGEST_CALL)
        self.connection.request(
            "POST", f"/v1/jobs/{self.job}/events", json.dumps({"type": kind, "data": data, "event_id": event}),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.service.token}"})
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    @staticmethod
    def code(text):
        try:
            return json.loads(text)["code"]
        except (ValueError, LookupError, TypeError):
            return "without a code"


class SQLAppender(Appender):
    STATEMENT = ("SELECT position FROM jobledger.append_event("
                 "%s, %s, %s::json, event_id => %s::uuid)")

    def __init__(self, name, address, way):
        self.address, self.connection = address, None
        super().__init__(name, way)
        self.waits_alone = way == "hosts"

    def attempt(self, event, kind, data):
        if self.connection is None:
            try:
                self.connection = sql.connect(self.address)
            except sql.FAILURES as error:
                raise NotWritten("no connection") from error
        try:
            del self.connection.notices[:]
            position = sql.rows(
                self.connection, self.STATEMENT, (self.job, kind, json.dumps(data), event), seconds=LONGEST_CALL)[0][0]
        except sql.FAILURES as error:
            self.leave()
            state = getattr(error, "pgcode", None)
            if state is None:
                raise Unsettled(type(error).__name__) from error
            if state.startswith("JL"):
                raise Refused(state) from error
            # 08 and 57 may break in during the commit; the others are errors of the statement.
            if state.startswith(("08", "57P01", "57P02")):
                raise Unsettled(state) from error
            raise NotWritten(state) from error
        # The transaction is committed here, and was not waited for.
        if any("synchronous replication" in notice for notice in self.connection.notices):
            raise Unsettled("the wait for a standby was cancelled")
        return position

    def leave(self):
        connection, self.connection = self.connection, None
        if connection:
            connection.close()
