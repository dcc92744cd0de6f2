"""What is done to the cluster, one trial after the other, while callers append and readers follow."""
import dataclasses
import signal
import time
import typing

from processes import Failed, eventually

# How long the callers append before something happens, and how long after it is over.
BEFORE, AFTER = 2.0, 4.0
# How far the standbys are behind where a trial is to lose something.
LAG = 1.0
# How long something stays stopped after a new leader is there, or if none comes.
STOPPED = 6.0


@dataclasses.dataclass(frozen=True)
class Mode:
    """How Postgres replicates, and the level of durability that the ledger demands."""
    name: str
    is_synchronous: bool
    demands: typing.Optional[str] = None


ASYNC = Mode("async", False)
# synchronous_mode and synchronous_mode_strict of Patroni.
SYNC = Mode("sync", True)
# The same, and nothing is acknowledged, published, projected or sealed before a standby has it.
QUORUM = Mode("quorum", True, "quorum")


@dataclasses.dataclass(frozen=True)
class Trial:
    name: str
    what: str
    mode: Mode
    act: typing.Callable
    # Whether HAProxy ends the sessions of a server that is no primary any more, as it should.
    closes_sessions: bool = True
    # Whether another node must become the leader; `None` if both can be.
    fails_over: typing.Optional[bool] = True
    # Whether a process is stopped, so that its connections stay open and nothing comes of them.
    stops: bool = False
    # Whether Patroni 3.0.2 can lose what a synchronous standby has: when it goes on, it may take
    # the leadership back from the new leader, whose events are gone then.
    manager_loses: bool = False


class Scene:
    """The cluster with its ledger, its callers and readers, in one trial."""

    def __init__(self, cluster, redis, ledger, appenders, followers, mode):
        self.cluster, self.redis, self.ledger, self.mode = cluster, redis, ledger, mode
        self.appenders, self.followers = appenders, followers
        self.timeline = cluster.watch.timeline()
        self.began = time.monotonic()
        # When it happened; when a leader accepted writes again; when what was stopped went on.
        self.fault_at = self.leader_at = self.went_on_at = None
        self.notes = []

    def hold(self, seconds):
        time.sleep(seconds)

    def lag(self, leader):
        """Lets the standbys fall behind, if the trial is to lose something."""
        if not self.mode.is_synchronous:
            leader.replication.delay = LAG
            self.hold(LAG + 1.5)

    def fault(self):
        self.fault_at = time.monotonic()

    def await_leader(self, seconds=60, other=True):
        """Waits until a node accepts writes, on another timeline unless told otherwise."""
        seen, node = eventually("a leader accepts writes", lambda: self.cluster.watch.leader_since(
            self.fault_at, self.timeline if other else None), seconds)
        self.leader_at = seen
        return node

    def await_appends(self):
        """Waits until each caller has had an answer since the leader accepts writes. If one has
        none, the verdict says so."""
        def back():
            return all(a.acknowledged and a.acknowledged[-1].at >= self.leader_at for a in self.appenders)
        try:
            eventually("all callers append again", back, 60)
        except Failed:
            pass


def kill(scene):
    leader = scene.cluster.leader()
    scene.lag(leader)
    scene.fault()
    leader.kill()
    scene.await_leader()
    # Not before: what is on the way would still arrive.
    leader.replication.delay = 0
    scene.await_appends()
    scene.hold(AFTER)
    leader.start()


def switch_over(scene):
    scene.fault()
    scene.cluster.switch_over()
    scene.await_leader()
    scene.await_appends()
    scene.hold(AFTER)


def stop_node(scene):
    stop(scene, with_patroni=True)


def stop_postgres(scene):
    stop(scene, with_patroni=False)


def stop(scene, with_patroni):
    leader = scene.cluster.leader()
    scene.lag(leader)
    scene.fault()
    leader.stop(with_patroni)
    leader.replication.delay = 0
    try:
        scene.await_leader(40)
        scene.hold(STOPPED)
    finally:
        leader.go_on()
        scene.went_on_at = time.monotonic()
    scene.await_appends()
    scene.hold(AFTER)


def cut_from_etcd(scene):
    leader = scene.cluster.leader()
    scene.lag(leader)
    scene.fault()
    leader.etcd.cut()
    try:
        scene.await_leader()
        leader.replication.delay = 0
        scene.hold(STOPPED)
    finally:
        leader.etcd.mend()
    scene.await_appends()
    scene.hold(AFTER)


def stop_etcd(scene):
    """Without etcd there is no leader: that is Patroni's choice, unless failsafe_mode is on."""
    scene.fault()
    scene.cluster.etcd.signal(signal.SIGSTOP)
    try:
        scene.hold(15)
    finally:
        scene.cluster.etcd.signal(signal.SIGCONT)
        scene.fault_at = scene.went_on_at = time.monotonic()
    scene.leader_at = scene.went_on_at
    eventually("a leader", scene.cluster.leader, 60)
    found = scene.cluster.watch.leader_since(scene.went_on_at)
    if found:
        scene.leader_at = found[0]
    scene.await_appends()
    scene.hold(AFTER)


def pause_standbys(scene):
    standbys = scene.cluster.standbys()
    scene.fault()
    for node in standbys:
        node.stop(with_patroni=False)
    try:
        # Longer than a request waits in the service.
        scene.hold(14)
    finally:
        for node in standbys:
            node.go_on()
        scene.leader_at = scene.went_on_at = time.monotonic()
    scene.await_appends()
    scene.hold(AFTER)


def restart_nodes(scene):
    """Each node in turn, the leader last, which stays the leader."""
    leader = scene.cluster.leader()
    for node in [*(n for n in scene.cluster.nodes if n is not leader), leader]:
        if node is leader:
            scene.fault()
        node.request("POST", "/restart", {}, seconds=60)
        scene.cluster.settle(60, scene.mode)
    scene.await_leader(other=False)
    scene.await_appends()
    scene.hold(AFTER)


def fail_redis_over(scene):
    scene.fault()
    scene.leader_at = scene.fault_at
    killed = scene.redis.kill_master()
    eventually("another Redis is the master", lambda: any(
        server.is_master for server in scene.redis.servers if server is not killed), 60)
    scene.notes.append(f"another Redis after {time.monotonic() - scene.fault_at:.1f} s")
    scene.hold(AFTER)
    killed.start()
    scene.redis.settle()
    scene.hold(1)


TRIALS = [
    Trial("kill-async", "kill -9 of the leader, the standbys a second behind", ASYNC, kill),
    Trial("kill-sync", "kill -9 of the leader", SYNC, kill),
    Trial("kill-quorum", "kill -9 of the leader, and the ledger demands quorum", QUORUM, kill),
    Trial("switchover-async", "a switchover", ASYNC, switch_over),
    Trial("switchover-sync", "a switchover", SYNC, switch_over),
    Trial("switchover-quorum", "a switchover, and the ledger demands quorum", QUORUM, switch_over),
    Trial("open-sessions", "a switchover behind a proxy that leaves sessions open", SYNC, switch_over, False),
    Trial("stop-async", "the leader's Postgres and Patroni stopped, and going on", ASYNC, stop_node,
          stops=True, manager_loses=True),
    Trial("stop-sync", "the leader's Postgres and Patroni stopped, and going on", SYNC, stop_node,
          stops=True, manager_loses=True),
    Trial("stop-postgres-async", "only the leader's Postgres stopped, and going on", ASYNC, stop_postgres,
          stops=True, manager_loses=True),
    Trial("stop-postgres-sync", "only the leader's Postgres stopped, and going on", SYNC, stop_postgres,
          stops=True, manager_loses=True),
    Trial("stop-quorum", "the leader's Postgres and Patroni stopped, and the ledger demands quorum", QUORUM, stop_node,
          stops=True, manager_loses=True),
    Trial("cut-async", "the leader cut from etcd, the standbys a second behind", ASYNC, cut_from_etcd),
    Trial("cut-sync", "the leader cut from etcd", SYNC, cut_from_etcd),
    Trial("etcd-sync", "etcd stopped, and going on", SYNC, stop_etcd, fails_over=None, stops=True),
    Trial("standbys-sync", "both standbys stopped, and going on", SYNC, pause_standbys, fails_over=False, stops=True),
    Trial("standbys-quorum", "both standbys stopped, and the ledger demands quorum", QUORUM, pause_standbys,
          fails_over=False, stops=True),
    Trial("restart-sync", "each node restarted", SYNC, restart_nodes, fails_over=False),
    Trial("redis-sync", "kill -9 of the Redis that is the master", SYNC, fail_redis_over, fails_over=False),
]
SHORT = ["kill-async", "switchover-sync"]
