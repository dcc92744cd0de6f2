"""Three Postgres nodes under Patroni, etcd, HAProxy and pgbouncer, on loopback."""
import http.client
import json
import os
import secrets
import signal
import threading
import time

import sql
from links import Link
from processes import Failed, eventually, postmaster, signal_tree

# How quickly Patroni notices: far below its defaults (30, 10, 10), which suit networks. A trial
# then takes seconds.
TIMES = {"ttl": 10, "loop_wait": 1, "retry_timeout": 3}

NAMES = ("n1", "n2", "n3")

PATRONI = """
scope: ha
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
# With use_proxies Patroni keeps to this address, which is a link that can be cut. Otherwise it asks
# etcd for the addresses of its members.
etcd3: {{host: "127.0.0.1:{etcd}", use_proxies: true}}
bootstrap:
  dcs: {dcs}
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, data-checksums]
postgresql:
  listen: "127.0.0.1:{port}"
  # What the other nodes connect to: a link that can be slowed down.
  connect_address: "127.0.0.1:{replication}"
  data_dir: {folder}/data
  bin_dir: {bin}
  pgpass: {folder}/pgpass
  basebackup: [{{checkpoint: fast}}]
  authentication:
    superuser: {{username: postgres, password: {password}}}
    replication: {{username: replicator, password: {password}}}
    rewind: {{username: rewinder, password: {password}}}
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator 127.0.0.1/32 scram-sha-256
  parameters: {{unix_socket_directories: "{folder}", logging_collector: "off"}}
watchdog: {{mode: "off"}}
"""

DCS = {
    **TIMES,
    # A standby that is a second behind may be promoted: what is lost then is what is looked at.
    "maximum_lag_on_failover": 1 << 30,
    "postgresql": {
        "use_pg_rewind": True, "use_slots": True,
        "parameters": {
            "max_connections": 200, "shared_buffers": "32MB", "wal_keep_size": "256MB", "wal_log_hints": "on",
            "max_wal_size": "1GB", "autovacuum_naptime": "10s",
        },
    },
}

HAPROXY = """
global
  maxconn 2000
defaults
  mode tcp
  timeout connect 2s
  # By default HAProxy tries a server that refuses for some seconds, until it finds out that it is
  # down. The ledger tries again by itself, and comes to another.
  retries 0
  timeout client 1h
  timeout server 1h
  timeout check 1s
listen ledger
  bind 127.0.0.1:{port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 500ms fastinter 200ms downinter 300ms fall 2 rise 1 {closing}
{servers}
"""

PGBOUNCER = """
[databases]
ledger = host=127.0.0.1 port={target} dbname=ledger
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
server_login_retry = 0.2
server_round_robin = 0
"""


class Node:
    """A Postgres and its Patroni."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.folder = cluster.folder / name
        self.data = self.folder / "data"
        self.port, self.rest = cluster.ports.take(), cluster.ports.take()
        self.replication = Link(cluster.ports.take(), self.port)
        self.etcd = Link(cluster.ports.take(), cluster.etcd_port)
        self.patroni = None
        self.address = (f"host=127.0.0.1 port={self.port} user=postgres password={cluster.password} dbname=postgres "
                        "application_name=check-ha")

    def configure(self):
        self.cluster.make_folder(self.folder)
        text = PATRONI.format(
            name=self.name, rest=self.rest, etcd=self.etcd.port, dcs=json.dumps(DCS), port=self.port,
            replication=self.replication.port, folder=self.folder, bin=self.cluster.bin, password=self.cluster.password)
        self.cluster.write(self.folder / "patroni.yml", text)

    def start(self):
        self.patroni = self.cluster.spawner.start(
            f"patroni-{self.name}", ["/usr/bin/patroni", self.folder / "patroni.yml"], as_user=True)

    def signal_postgres(self, number):
        if pid := postmaster(self.data):
            signal_tree(pid, number)

    def kill(self):
        """As if the machine went."""
        self.patroni.kill()
        self.signal_postgres(signal.SIGKILL)

    def stop(self, with_patroni):
        if with_patroni:
            signal_tree(self.patroni.pid, signal.SIGSTOP)
        self.signal_postgres(signal.SIGSTOP)

    def go_on(self):
        self.signal_postgres(signal.SIGCONT)
        signal_tree(self.patroni.pid, signal.SIGCONT)

    def request(self, method, path, body=None, seconds=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=seconds)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def state(self):
        try:
            return json.loads(self.request("GET", "/patroni")[1])
        except (OSError, ValueError, http.client.HTTPException):
            return {}


class Cluster:
    def __init__(self, spawner, folder, ports, postgres_bin):
        self.spawner, self.folder, self.ports, self.bin = spawner, folder, ports, postgres_bin
        self.password = secrets.token_hex(16)
        self.etcd_port, self.proxy_port, self.pooler_port = ports.take(), ports.take(), ports.take()
        self.etcd = self.proxy = None
        self.closes_sessions = None
        self.nodes = [Node(self, name) for name in NAMES]
        self.watch = Watch(self.nodes)

    # Folders and files of the servers' user.

    def make_folder(self, folder):
        folder.mkdir(mode=0o700, parents=True)
        self.own(folder)

    def own(self, path):
        if os.geteuid() == 0:
            os.chown(path, self.spawner.user.pw_uid, self.spawner.user.pw_gid)

    def write(self, path, text):
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        self.own(path)

    # Starting

    def start(self):
        peer = f"http://127.0.0.1:{self.ports.take()}"
        client = f"http://127.0.0.1:{self.etcd_port}"
        self.make_folder(self.folder / "etcd")
        self.etcd = self.spawner.start("etcd", [
            "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", client, "--advertise-client-urls",
            client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
            f"default={peer}", "--logger", "zap", "--log-level", "warn"], as_user=True)
        for node in self.nodes:
            node.configure()
            node.start()
        self.settle(120)
        self.watch.start()

    def start_proxy(self, closes_sessions):
        """HAProxy, which ends the sessions of a server that is no primary any more, or leaves them
        open."""
        if self.closes_sessions == closes_sessions:
            return
        if self.proxy:
            self.proxy.end()
            self.spawner.running.remove(self.proxy)
        else:
            self.make_folder(self.folder / "haproxy")
        servers = "\n".join(f"  server {n.name} 127.0.0.1:{n.port} check port {n.rest}" for n in self.nodes)
        file = self.folder / "haproxy" / "haproxy.cfg"
        closing = "on-marked-down shutdown-sessions" if closes_sessions else ""
        self.write(file, HAPROXY.format(port=self.proxy_port, servers=servers, closing=closing))
        self.proxy = self.spawner.start("haproxy", ["haproxy", "-db", "-f", file], as_user=True)
        self.closes_sessions = closes_sessions
        address = self.address("postgres", self.password, "proxy", "postgres")
        eventually("HAProxy has a leader", lambda: self.answers(address), 120)

    def start_pooler(self, users):
        """pgbouncer in transaction mode, for callers that append by SQL."""
        folder = self.folder / "pgbouncer"
        self.make_folder(folder)
        self.write(folder / "users.txt", "".join(f'"{name}" "{password}"\n' for name, password in users.items()))
        self.write(folder / "pgbouncer.ini", PGBOUNCER.format(
            target=self.proxy_port, port=self.pooler_port, folder=folder))
        self.spawner.start("pgbouncer", ["pgbouncer", folder / "pgbouncer.ini"], as_user=True)

    @staticmethod
    def answers(address):
        try:
            return sql.ask(address, "SELECT 1", seconds=3)
        except sql.FAILURES:
            return False

    def address(self, user, password, way, database="ledger"):
        """A connection string: by way of the proxy, of all hosts, or of the pooler."""
        places = {
            "proxy": f"127.0.0.1:{self.proxy_port}", "pooler": f"127.0.0.1:{self.pooler_port}",
            "hosts": ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)}[way]
        attributes = "?target_session_attrs=read-write" if way == "hosts" else ""
        return f"postgresql://{user}:{password}@{places}/{database}{attributes}"

    def addresses(self, user, password, database="ledger"):
        """A connection string for each node, of which one can be used at a time."""
        return [f"postgresql://{user}:{password}@127.0.0.1:{node.port}/{database}?target_session_attrs=read-write"
                for node in self.nodes]

    # States

    def leader(self):
        """The node that Patroni has as the leader; `None` if there is none."""
        for node in self.nodes:
            state = node.state()
            if state.get("role") in ("master", "primary") and state.get("state") == "running":
                return node
        return None

    def standbys(self):
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def configuration(self, leader):
        return json.loads(leader.request("GET", "/config")[1])

    def is_settled(self, mode=None):
        """Whether there is one leader, and both others stream from it, without a lag."""
        leader = self.leader()
        if not leader:
            return False
        sent = sql.ask(
            leader.address,
            "SELECT count(*) FILTER (WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn() - 1000000),"
            "       count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication", seconds=3)[0]
        running = [node.state() for node in self.nodes]
        timelines = {state.get("timeline") for state in running}
        is_whole = all(state.get("state") == "running" for state in running) and len(timelines) == 1
        return is_whole and sent[0] == 2 and (mode is None or (sent[1] > 0) == mode.is_synchronous)

    def settle(self, seconds=60, mode=None):
        """Waits until the cluster is whole.
        - Returns: the nodes that had to be made anew for it."""
        def ask():
            try:
                return self.is_settled(mode)
            except sql.FAILURES:
                return False
        try:
            eventually("one leader with two standbys", ask, seconds / 2, pause=0.2)
            return []
        except Failed:
            stuck = self.make_stuck_anew()
            eventually("one leader with two standbys", ask, seconds, pause=0.2)
            return stuck

    def make_stuck_anew(self):
        """A standby that has received more of the former timeline than the new leader had cannot
        follow, and Patroni 3.0.2 does not rewind it. A person would do this."""
        leader = eventually("a leader", self.leader)
        timeline = leader.state().get("timeline")
        stuck = [node for node in self.nodes if node is not leader and node.state().get("timeline") != timeline]
        for node in stuck:
            node.request("POST", "/reinitialize", {"force": True}, seconds=60)
        return [node.name for node in stuck]

    def set_mode(self, mode):
        leader = eventually("a leader", self.leader)
        wanted = {"synchronous_mode": mode.is_synchronous, "synchronous_mode_strict": mode.is_synchronous}
        status, text = leader.request("PATCH", "/config", wanted)
        if status != 200:
            raise Failed(f"Patroni refuses the settings {wanted}: {text}")
        self.settle(60, mode)

    def switch_over(self):
        """Asks Patroni for a switchover, which it makes at its next look."""
        leader = eventually("a leader", self.leader)

        def ask():
            state = json.loads(leader.request("GET", "/cluster")[1])
            members = {member["name"]: member for member in state["members"]}
            candidates = [node for node in self.nodes if node is not leader]
            # In synchronous mode only a synchronous standby may take over, and which one that is
            # may have changed since the leader was asked.
            candidates.sort(key=lambda node: members.get(node.name, {}).get("role") != "sync_standby")
            status, text = leader.request(
                "POST", "/switchover", {"leader": leader.name, "candidate": candidates[0].name}, seconds=60)
            if status not in (200, 202, 412):
                raise Failed(f"Patroni refuses the switchover: {status} {text}")
            return status != 412
        eventually("Patroni agrees to a switchover", ask, pause=0.5)


class Watch:
    """Asks each node about ten times a second whether it accepts writes, and on which timeline. One
    that waits for a standby, and has none, does not."""

    STATEMENT = """
        SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END
         WHERE current_setting('synchronous_standby_names') = ''
            OR EXISTS (SELECT FROM pg_stat_replication
                        WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum'))
        """

    def __init__(self, nodes):
        self.nodes = nodes
        self.lock = threading.Lock()
        # When a node was seen to accept writes for the first time after it did not: (time, node,
        # timeline). And when any began or ceased to: (time, name, timeline or None).
        self.leaders, self.changes = [], []
        self.now = {}
        self.ends = False

    def start(self):
        for node in self.nodes:
            threading.Thread(target=self.look, args=(node,), daemon=True, name=f"watch {node.name}").start()

    def watch_proxy(self, address):
        """Watches the way through the proxy, too."""
        threading.Thread(target=self.look, args=(None, address), daemon=True, name="watch proxy").start()

    def look(self, node, proxy=None):
        connection, name = None, node.name if node else "proxy"
        while not self.ends:
            timeline = None
            try:
                if proxy and connection:
                    # A session that is open says nothing of where the next one leads.
                    connection.close()
                    connection = None
                connection = connection or sql.connect(proxy or node.address, seconds=1)
                found = sql.rows(connection, self.STATEMENT, seconds=1)
                timeline = found[0][0] if found else None
            except sql.FAILURES:
                if connection:
                    connection.close()
                connection = None
            with self.lock:
                if node and timeline and self.now.get(name) != timeline:
                    self.leaders.append((time.monotonic(), node, timeline))
                if self.now.get(name) != timeline:
                    self.changes.append((time.monotonic(), name, timeline))
                self.now[name] = timeline
            time.sleep(0.05 if node else 0.15)

    def timeline(self):
        with self.lock:
            return max((timeline for timeline in self.now.values() if timeline), default=None)

    def last_change(self, before):
        """When a node, or what the proxy leads to, last began or ceased to accept writes."""
        with self.lock:
            return max((at for at, _, _ in self.changes if at <= before), default=0.0)

    def proxy_since(self, moment):
        """When the proxy began to lead to a leader after a moment; the moment if it did then."""
        with self.lock:
            found = [(at, timeline) for at, name, timeline in self.changes if name == "proxy"]
        before = [timeline for at, timeline in found if at <= moment]
        if before and before[-1]:
            return moment
        return next((at for at, timeline in found if at > moment and timeline), moment)

    def leader_since(self, moment, other_than=None):
        """When the first node began to accept writes after a moment, on another timeline."""
        with self.lock:
            for seen, node, timeline in self.leaders:
                if seen >= moment and timeline != other_than:
                    return seen, node
        return None
