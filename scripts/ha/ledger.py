"""The ledger in the cluster: its users, and two of each of its parts."""
import json
import os
import re
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request

import sql
from processes import Failed, eventually

# A user for each part, with the roles of docs/security.md.
USERS = {
    "api": ["appender", "reader"], "publish": ["relay"], "fold": ["projector"], "seal": ["sealer"],
    "follow": ["subscriber", "reader"], "caller": ["appender"]}


class Ledger:
    def __init__(self, cluster, redis, binary, follower):
        self.cluster, self.redis, self.binary, self.follower = cluster, redis, binary, follower
        self.spawner = cluster.spawner
        self.passwords = {name: secrets.token_hex(16) for name in USERS}
        self.parts, self.services = [], []
        self.token = ""
        self.key_number = 0
        self.demanded = None
        self.sealer = None

    def url(self, user, way):
        return self.cluster.address(user, self.passwords[user], way)

    def owner(self):
        return self.cluster.address("postgres", self.cluster.password, "hosts")

    def environment(self, address, **others):
        return {"DATABASE_URL": address, "REDIS_URL": self.redis.url, **others}

    def command(self, *words, address=None, allowed=(0,), seconds=60, **others):
        return self.spawner.run(f"jobledger-{words[0]}", [self.binary, *words],
                                self.environment(address or self.owner(), **others), allowed=allowed, seconds=seconds)

    def create(self):
        sql.ask(self.cluster.addresses("postgres", self.cluster.password, "postgres"),
                "CREATE DATABASE ledger TEMPLATE template0 ENCODING 'UTF8'")
        self.command("migrate")
        statements = [f"CREATE ROLE {name} LOGIN PASSWORD '{self.passwords[name]}' IN ROLE "
                      + ", ".join(f"jobledger_{role}" for role in roles) for name, roles in USERS.items()]
        statements += ["ALTER ROLE fold SET role = jobledger_projector",
                       "GRANT CREATE ON DATABASE ledger TO jobledger_projector"]
        for statement in statements:
            self.ask(statement)
        self.token = self.command("token", "create", "--scope", "append,read", "--name", "check")[0].strip()

    def start(self):
        """One of each two parts comes to the leader by the proxy, the other by a list of hosts."""
        for number, way in ((1, "proxy"), (2, "hosts")):
            self.services.append(Service(self, number, way))
            for name, words, user in (("relay", ["relay"], "publish"), ("project", ["project"], "fold")):
                self.add(f"{name}-{number}", words, self.url(user, way))
        self.new_key()
        self.start_sealer()
        for service in self.services:
            eventually(f"{service.name} is ready", service.is_ready, 60)

    def add(self, name, words, address, **others):
        process = self.spawner.start(name, [self.binary, *words], self.environment(address, **others))
        self.parts.append(process)
        return process

    def key(self, number):
        return self.spawner.folder / f"seal-{number}.key"

    def new_key(self):
        self.key_number += 1
        verifier = self.command("audit", "key", "--out", self.key(self.key_number))[0]
        self.key(self.key_number).with_suffix(".vkey").write_text(verifier)

    def start_sealer(self):
        """With another key than the last time, that one signs where its history ended."""
        before = ["--after-loss", str(self.key(self.key_number - 1))] if self.key_number > 1 else []
        if self.sealer:
            self.parts.remove(self.sealer)
            self.sealer.end()
            self.spawner.running.remove(self.sealer)
        self.sealer = self.add("sealer", ["audit", "seal", *before], self.url("seal", "hosts"),
                               JOBLEDGER_SEAL_KEY=str(self.key(self.key_number)))

    def verify_seal(self):
        """Verifies the seal with the first of all keys: those after it are named by signatures."""
        return self.command(
            "audit", "verify", "--key", str(self.key(1).with_suffix(".vkey")), allowed=None)

    def demand(self, level):
        """Has the ledger demand a level of durability. `None`: what the server does by itself."""
        if level != self.demanded:
            self.command("durability", level or "local")
            self.demanded = level

    # What it has

    def ask(self, statement, values=None, seconds=30.0):
        """Asks the leader, by the list of hosts. Tried again while there is none."""
        end = time.monotonic() + 30
        while True:
            try:
                return sql.ask(self.cluster.addresses("postgres", self.cluster.password), statement, values, seconds)
            except sql.FAILURES as error:
                if time.monotonic() > end:
                    raise Failed(f"the ledger does not answer: {error}") from None
                time.sleep(0.2)

    def head(self):
        return self.ask("SELECT jobledger.head()")[0][0]

    def log(self):
        """The event id at each position, from 1 on."""
        return [row[0] for row in self.ask(
            "SELECT event_id::text FROM jobledger.events ORDER BY position", seconds=120)]

    def status(self):
        text, _ = self.command("status", "--json", allowed=(0, 1, 3))
        return json.loads(text) if text.strip() else {}

    def seal_problem(self):
        return self.ask("SELECT stopped FROM jobledger.seal")[0][0]

    def ended(self):
        """The parts that have exited."""
        return [f"{part.name} exited with {part.exit_code}" for part in self.parts if part.exit_code is not None]


class Service:
    def __init__(self, ledger, number, way):
        self.name = f"serve-{number}"
        self.port = ledger.cluster.ports.take()
        self.token = ledger.token
        ledger.add(self.name, ["serve", "--port", str(self.port)], ledger.url("api", way))

    def get(self, path, seconds=5):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def internal_errors(self):
        """How many requests the service says it has answered with 500, of any kind."""
        status, text = self.get("/metrics", 15)
        if status != 200:
            raise Failed(f"{self.name} answers {status} for its metrics: {text}")
        counts = re.findall(r'^jobledger_http_requests_total\{[^}]*status="500"[^}]*\} (\d+)', text, re.M)
        return sum(map(int, counts))
