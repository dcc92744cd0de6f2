"""What a trial came to, compared with the log that survived."""
import time

from processes import Failed, eventually

# Seconds that a reader or the callers may need once a leader accepts writes.
LIMIT = 2.0
# The same for a caller whose driver knows of no other leader, where a server was stopped: it waits
# for that server.
LIMIT_ALONE = 15.0
# Seconds that the slowest reader may go without a further event, until it has the whole log.
PAUSE = 40.0

JOBS = """
SELECT count(*) FROM (
  SELECT stream_id AS id,
         CASE WHEN bool_or(type = 'finished') THEN 'finished'
              WHEN bool_or(type = 'progress') THEN 'running' ELSE 'queued' END AS status,
         CASE WHEN NOT bool_or(type = 'finished')
              THEN coalesce(max((data::json->>'completed')::integer) FILTER (WHERE type = 'progress'), 0) END AS done
    FROM jobledger.events GROUP BY stream_id) AS log
  FULL JOIN jobledger.batch_jobs AS jobs ON jobs.id = log.id
 WHERE log.status IS DISTINCT FROM jobs.status OR (done IS NOT NULL AND done IS DISTINCT FROM jobs.completed)
"""


class Verdict:
    def __init__(self, trial, judges_times=True):
        self.trial, self.judges_times = trial, judges_times
        self.violations, self.notes = [], []
        self.acknowledged = self.lost = self.unknown = self.refused = 0
        self.phantoms = self.missing = self.server_errors = 0
        # Seconds: until a leader accepted writes, from then until the proxy led to it, until all
        # callers of a way had an answer, until the last follower was told; and the longest time
        # without an event.
        self.leader = self.proxy = self.told = self.gap = None
        self.back = {}
        self.seconds = 0.0

    def demand(self, condition, violation):
        if not condition:
            self.violations.append(violation)

    def demand_time(self, condition, violation):
        """What took too long is only noted where other work on the machine may be why."""
        if not condition:
            (self.violations if self.judges_times else self.notes).append(violation)


class Judge:
    """Looks at a scene before and after its trial."""

    def __init__(self, scene, verdict):
        self.scene, self.trial, self.verdict = scene, verdict.trial, verdict
        self.starts_again = 0
        self.errors_before = self.internal_errors()
        self.acknowledged_before = {a: len(a.acknowledged) for a in scene.appenders}
        self.unknown_before = {a: len(a.unknown) for a in scene.appenders}
        self.refused_before = {a: len(a.refused) for a in scene.appenders}
        for reader in [*scene.followers, *scene.appenders]:
            reader.violations.clear()
        for follower in scene.followers:
            follower.told.clear()
            follower.reset_gap()

    def internal_errors(self):
        return [service.internal_errors() for service in self.scene.ledger.services]

    def judge(self):
        """Everything but the fault is over: nobody appends, and the cluster is whole."""
        self.look_at_times()
        log = self.await_followers()
        self.look_at_followers(log)
        self.look_at_appends(log)
        self.look_at_parts(len(log))
        self.verdict.notes += self.scene.notes
        self.verdict.seconds = time.monotonic() - self.scene.began

    @property
    def may_lose(self):
        return self.trial.manager_loses or not self.scene.mode.is_synchronous

    # The callers

    def look_at_times(self):
        scene, verdict = self.scene, self.verdict
        verdict.leader = scene.leader_at - scene.fault_at if scene.leader_at else None
        if scene.leader_at and not self.trial.stops:
            verdict.proxy = scene.cluster.watch.proxy_since(scene.leader_at) - scene.leader_at
        for appender in scene.appenders:
            first = next((a.at for a in appender.acknowledged if a.at >= scene.leader_at), None)
            seconds = first - self.since(first, appender.way) if first else float("inf")
            by = "driver" if appender.waits_alone else appender.way
            verdict.back[by] = max(verdict.back.get(by, 0.0), seconds)
            limit = LIMIT_ALONE if self.trial.stops and appender.waits_alone else LIMIT
            verdict.demand(first, f"{appender.name} ({by}) did not come back")
            verdict.demand_time(seconds <= limit, f"{appender.name} ({by}) was back after {seconds:.1f} s")
        verdict.gap = max(follower.longest_gap for follower in scene.followers)

    def look_at_appends(self, log):
        verdict, places = self.verdict, {event: position for position, event in enumerate(log, 1)}
        verdict.demand(len(places) == len(log), f"{len(log) - len(places)} events are in the log twice")
        for appender in self.scene.appenders:
            new = appender.acknowledged[self.acknowledged_before[appender]:]
            verdict.acknowledged += len(new)
            lost = [a for a in new if a.event not in places]
            verdict.lost += len(lost)
            moved = [a for a in new if places.get(a.event, a.position) != a.position]
            if self.may_lose and moved:
                # An earlier attempt, of unknown outcome, is what survived.
                verdict.notes.append(f"{len(moved)} survived elsewhere than acknowledged")
            else:
                verdict.demand(not moved, f"{len(moved)} events of {appender.name} are not where it was told they are")
            unknown = {event for _, event in appender.unknown[self.unknown_before[appender]:]}
            settled = {a.event for a in appender.acknowledged[-len(new) - 1:]}
            settled |= {event for _, event, _ in appender.refused[self.refused_before[appender]:]}
            verdict.unknown += len(unknown)
            verdict.demand(unknown <= settled, f"{appender.name}: a retry did not settle an unknown outcome")
            verdict.refused += len(appender.refused) - self.refused_before[appender]
            verdict.violations += [f"{appender.name}: {violation}" for violation in appender.violations]
        if not self.may_lose:
            verdict.demand(not verdict.lost, f"{verdict.lost} acknowledged events are lost")
            verdict.demand(not verdict.refused, f"{verdict.refused} events were refused, as if something were lost")

    # The readers

    def await_followers(self):
        """The log, once all followers have it, or none of the others gets on any more. Who starts
        again has the whole log to read, and a durable reader acknowledges each event."""
        seen, end = None, 0.0
        while True:
            log = self.scene.ledger.log()
            late = {follower.name: len(follower.events) for follower in self.scene.followers
                    if not follower.has(log)}
            if late != seen:
                seen, end = late, time.monotonic() + PAUSE
            if not late or time.monotonic() > end:
                return log
            time.sleep(0.2)

    def look_at_followers(self, log):
        verdict = self.verdict
        for follower in self.scene.followers:
            with follower.lock:
                events, told = list(follower.events), list(follower.told)
                wrong = [p for p, event in enumerate(events, 1) if p > len(log) or log[p - 1] != event]
                missing = len(set(log) - set(events))
                # The next trial begins with a follower that is right.
                follower.events = list(log)
            verdict.phantoms += len(wrong)
            verdict.missing += missing
            verdict.demand(not wrong, f"{follower.name} keeps {len(wrong)} events that are not in the log, the first "
                           f"at {wrong[0] if wrong else 0}")
            verdict.demand(not missing, f"{follower.name} lacks {missing} events of {len(log)}")
            verdict.violations += [f"{follower.name}: {violation}" for violation in follower.violations]
            for divergence in told:
                self.look_at_divergence(follower, divergence, log)
        if self.starts_again:
            verdict.notes.append(f"{self.starts_again} readers start again, for their epoch is lost")

    def look_at_divergence(self, follower, divergence, log):
        verdict = self.verdict
        seconds = divergence.at - self.since(divergence.at, follower.way)
        verdict.told = max(verdict.told or 0.0, seconds)
        verdict.demand(divergence.dropped, f"{follower.name} was told of a divergence but had nothing behind it")
        if not divergence.shared:
            # The reader's epoch is itself lost, so nothing is known to be shared: decision 27.
            self.starts_again += 1
        elif divergence.dropped and divergence.shared < len(log):
            further = f"{follower.name} was told to go back to {divergence.shared}, further than needed"
            if self.trial.manager_loses:
                # Two histories of one epoch, of which the relay has published one: decision 27.
                verdict.notes += [] if divergence.dropped[0] != log[divergence.shared] else [further]
            else:
                verdict.demand(divergence.dropped[0] != log[divergence.shared], further)
        verdict.demand_time(
            seconds <= LIMIT, f"{follower.name} was told {seconds:.1f} s after the new leader accepted writes")

    def since(self, moment, way):
        """From when on a caller or a reader could find the leader: since it accepts writes, and since
        the proxy leads to it. Where a server was stopped, two may accept writes for a while. Who has
        come to the wrong one finds out when that one ceases to.
        """
        watch, leader = self.scene.cluster.watch, self.scene.leader_at
        if self.trial.stops:
            return max(leader, watch.last_change(moment))
        return watch.proxy_since(leader) if way == "proxy" else leader

    # The parts

    def look_at_parts(self, head):
        verdict, ledger = self.verdict, self.scene.ledger
        verdict.violations += ledger.ended()
        after = self.internal_errors()
        verdict.server_errors = sum(after) - sum(self.errors_before)
        verdict.demand(not verdict.server_errors, f"{verdict.server_errors} requests were answered with 500")
        for service in ledger.services:
            self.await_truth(f"{service.name} is not ready", service.is_ready)
        self.await_truth("a projection is not at the head, or has stopped", lambda: ledger.ask(
            "SELECT bool_and(position = %s AND state = 'running') FROM jobledger.projections", (head,))[0][0])
        self.await_truth("the relay is not at the head", lambda: ledger.ask(
            "SELECT bool_and(position = %s) FROM jobledger.checkpoints WHERE reader = 'relay'", (head,))[0][0])
        wrong = ledger.ask(JOBS)[0][0]
        verdict.demand(not wrong, f"{wrong} rows of batch_jobs are not what the log says")
        text, code = ledger.command("verify", "batch_jobs", address=ledger.url("fold", "hosts"), allowed=None)
        verdict.demand(code == 0, f"verify batch_jobs: exit code {code}: {text.strip()}")
        self.look_at_seal(head)

    def await_truth(self, problem, ask):
        try:
            eventually(problem, ask, 15, 0.2)
        except Failed:
            self.verdict.violations.append(problem)

    def look_at_seal(self, head):
        """A sealer that has signed what is lost stops, and gets another key: a step that
        docs/audit.md asks for."""
        ledger = self.scene.ledger

        def is_at_head():
            return ledger.ask("SELECT size = %s OR stopped IS NOT NULL FROM jobledger.seal", (head,))[0][0]

        self.await_truth("the sealer is not at the head", is_at_head)
        problem = ledger.seal_problem()
        if problem:
            self.seal_after_loss(problem, head)
        text, code = ledger.verify_seal()
        self.verdict.demand(code == 0, f"audit verify with the first key: exit code {code}: {text.strip()}")

    def seal_after_loss(self, problem, head):
        ledger = self.scene.ledger
        self.verdict.demand(self.verdict.lost, f"the sealer stopped though nothing was lost: {problem}")
        self.verdict.notes.append("a new key for the sealer")
        ledger.new_key()
        ledger.start_sealer()
        self.await_truth("the sealer with its new key is not at the head", lambda: ledger.ask(
            "SELECT size = %s AND stopped IS NULL FROM jobledger.seal", (head,))[0][0])
