"""A Redis, its replica, and three Sentinels that watch over them."""
import secrets
import socket

from processes import eventually

SERVER = """
bind 127.0.0.1
port {port}
dir {folder}
save ""
appendonly no
requirepass {password}
masterauth {password}
repl-diskless-sync-delay 0
{replica}
"""

SENTINEL = """
bind 127.0.0.1
port {port}
dir {folder}
sentinel monitor ledger 127.0.0.1 {server} 2
sentinel auth-pass ledger {password}
sentinel down-after-milliseconds ledger 1000
sentinel failover-timeout ledger 5000
sentinel parallel-syncs ledger 1
"""


def command(port, *words, password=None):
    """The answer to one command: a text, a number as text, or a list of them."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection, connection.makefile("rwb") as file:
        for parts in ([("AUTH", password)] if password else []) + [words]:
            file.write(b"*%d\r\n" % len(parts))
            for part in map(str.encode, parts):
                file.write(b"$%d\r\n%s\r\n" % (len(part), part))
            file.flush()
            answer = read(file)
        return answer


def read(file):
    line = file.readline().decode().rstrip("\r\n")
    kind, rest = line[:1], line[1:]
    if kind == "*":
        return [read(file) for _ in range(int(rest))]
    if kind == "$":
        return file.read(int(rest) + 2)[:-2].decode() if rest != "-1" else ""
    if kind not in ("+", ":"):
        raise ValueError(f"Redis says: {line or 'nothing'}")
    return rest


class Server:
    def __init__(self, group, name, replica_of=None):
        self.group, self.name = group, name
        self.port = group.cluster.ports.take()
        self.folder = group.cluster.folder / name
        group.cluster.make_folder(self.folder)
        replica = f"replicaof 127.0.0.1 {replica_of.port}" if replica_of else ""
        group.cluster.write(self.folder / "redis.conf", SERVER.format(
            port=self.port, folder=self.folder, password=group.password, replica=replica))
        self.start()

    def start(self):
        self.process = self.group.cluster.spawner.start(
            self.name, ["redis-server", self.folder / "redis.conf"], as_user=True)

    def role(self):
        """`["master", …]`, `["slave", host, port, state, …]`, or nothing if it does not answer."""
        try:
            return command(self.port, "ROLE", password=self.group.password)
        except (OSError, ValueError):
            return []

    @property
    def is_master(self):
        return "master" in self.role()[:1]


class RedisGroup:
    def __init__(self, cluster):
        self.cluster = cluster
        self.password = secrets.token_hex(16)
        first = Server(self, "redis-1")
        self.servers = [first, Server(self, "redis-2", first)]
        eventually("Redis replicates", self.replicates, 30)
        self.sentinels = []
        for number in (1, 2, 3):
            port, folder = cluster.ports.take(), cluster.folder / f"sentinel-{number}"
            cluster.make_folder(folder)
            cluster.write(folder / "sentinel.conf", SENTINEL.format(
                port=port, folder=folder, server=first.port, password=self.password))
            cluster.spawner.start(f"sentinel-{number}", ["redis-sentinel", folder / "sentinel.conf"], as_user=True)
            self.sentinels.append(port)
        self.settle()

    @property
    def url(self):
        places = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://:{self.password}@{places}/ledger"

    def replicates(self):
        masters = [server for server in self.servers if server.is_master]
        return len(masters) == 1 and "connected" in next(s for s in self.servers if s not in masters).role()

    def knows_all(self):
        """Whether each Sentinel knows the master, the replica and the other Sentinels."""
        master = next((server for server in self.servers if server.is_master), None)
        for port in self.sentinels:
            answer = command(port, "SENTINEL", "MASTER", "ledger")
            known = dict(zip(answer[::2], answer[1::2]))
            if not master or known.get("port") != str(master.port) or known.get("num-slaves") != "1" \
                    or known.get("num-other-sentinels") != "2" or known.get("flags") != "master":
                return False
        return True

    def settle(self):
        eventually("Redis replicates, and the Sentinels agree", lambda: self.replicates() and self.knows_all(), 60, 0.2)

    def kill_master(self):
        master = next(server for server in self.servers if server.is_master)
        master.process.kill()
        self.cluster.spawner.running.remove(master.process)
        return master
