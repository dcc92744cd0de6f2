import EventStore
import Feed
import HTTPTypes
import Hummingbird
import LedgerCore
import Projections
import Seal

/// The routes for operators and their tools.
struct OperationsRoutes: Sendable {
    let health: Health
    let metrics: Metrics
    let connections: ConnectionCount
    let bodies: BodyBudget
    let feed: Feed
    let streams: StreamCount
    let commits: GroupCommit
    let reads: ReadLimits

    var routes: [Route] {
        [
            Route(.get, "/livez", scope: nil, alive),
            Route(.get, "/readyz", scope: nil, ready),
            Route(.get, "/metrics", scope: .read, answersInOutages: true, writeMetrics),
        ]
    }

    /// The process runs, whether or not what it depends on does.
    @Sendable private func alive(_ authorized: AuthorizedRequest) async throws -> Response {
        .json(Array(#"{"status":"alive"}"#.utf8))
    }

    @Sendable private func ready(_ authorized: AuthorizedRequest) async throws -> Response {
        let checks = await health.checks()
        let isReady = checks.allSatisfy { $0.isReady || !$0.isNeeded }
        var json = Array("{\"status\":\"\(isReady ? "ready" : "not ready")\",\"checks\":".utf8)
        json.append(list: checks) { check, json in
            json += "{\"name\":".utf8
            json.appendJSON(string: check.name)
            json += ",\"ready\":\(check.isReady),\"needed\":\(check.isNeeded),\"detail\":".utf8
            json.appendJSON(string: check.detail)
            json.append(UInt8(ascii: "}"))
        }
        json.append(UInt8(ascii: "}"))
        return .json(json, status: isReady ? .ok : .serviceUnavailable)
    }

    @Sendable private func writeMetrics(_ authorized: AuthorizedRequest) async throws -> Response {
        var text = PrometheusText()
        metrics.write(to: &text)
        writeService(to: &text)
        // While the ledger cannot be reached, its figures are left out, so that a scrape still gets
        // the rest and `jobledger_postgres_up`. A scrape has little time: it does not try twice.
        let lags = authorized.isDatabaseAway ? nil : try? await health.lags()
        text.metric("jobledger_postgres_up", "gauge", "Whether Postgres answers.", lags == nil ? 0 : 1)
        text.metric(
            "jobledger_log_writable", "gauge", "Whether the log takes appends, determined without writing.",
            lags.map { $0.log.readOnly == nil } == true ? 1 : 0)
        if let lags {
            write(lags, to: &text)
            write(lags.projections, head: lags.log.head, to: &text)
        }
        return Response(
            status: .ok, headers: [.contentType: PrometheusText.mediaType],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text.text)))
    }

    private func writeService(to text: inout PrometheusText) {
        let figures = feed.figures
        text.metric("jobledger_subscribers", "gauge", "Event streams that are open.", streams.count)
        text.metric(
            "jobledger_gaps_detected_total", "counter", "How often a stream found that events were missing.",
            figures.gapsDetected)
        text.metric(
            "jobledger_messages_rejected_total", "counter",
            "Messages from Redis that were dropped because they had no valid code.", figures.rejectedMessages)
        text.metric(
            "jobledger_refilled_events_total", "counter", "Events that live streams read from the log.",
            figures.refilledEvents)
        text.metric("jobledger_http_connections", "gauge", "Connections that are open.", connections.open)
        let lanes = [commits.status.small, commits.status.large]
        text.metric(
            "jobledger_append_requests_waiting", "gauge", "Requests whose events are not committed yet.",
            lanes.reduce(0) { $0 + $1.accepted + $1.waiting + $1.inFlight })
        text.metric(
            "jobledger_http_reads_under_way", "gauge", "Requests that have or wait for a reader, including this one.",
            reads.underWay)
        text.metric(
            "jobledger_http_body_bytes", "gauge", "Bytes of the bodies and large answers of requests under way.",
            bodies.heldBytes)
    }

    private func write(_ lags: Health.Lags, to text: inout PrometheusText) {
        text.metric("jobledger_server", "gauge", "The database server: 1, with its role, its timeline and the epoch.")
        text.sample(
            "jobledger_server",
            [
                ("role", lags.log.isStandby ? "standby" : "primary"), ("timeline", lags.log.timeline ?? ""),
                ("epoch", lags.log.epoch.text),
            ], "1")
        text.metric(
            "jobledger_durability", "gauge", "1 for the level that the ledger demands and the one that commits reach.")
        text.sample(
            "jobledger_durability",
            [
                ("demanded", lags.log.demand.rawValue),
                ("reached", lags.log.standbys.isEmpty ? Durability.local.rawValue : Durability.quorum.rawValue),
            ], "1")
        text.metric(
            "jobledger_append_oldest_seconds", "gauge",
            "How long the oldest append that was sent to the database has waited for its commit.",
            Int(lags.longestCommit / .seconds(1)))
        text.metric(
            "jobledger_unconfirmed_seconds", "gauge",
            "How long the standbys have owed the confirmation that was asked for first; -1 if they owe one to this "
                + "report.", lags.longestConfirmation.map { Int($0 / .seconds(1)) } ?? -1)
        text.metric("jobledger_head_position", "gauge", "The last position of the log.", lags.log.head)
        text.metric(
            "jobledger_log_held_seconds", "gauge",
            "How long a session has held the log, if at least 5 s; 0 otherwise.")
        if let holder = lags.holder, holder.heldFor >= LogLockHolder.notable {
            text.sample(
                "jobledger_log_held_seconds", [("by", holder.name)], "\(Int(holder.heldFor / .seconds(1)))")
        } else {
            text.sample("jobledger_log_held_seconds", [("by", "")], "0")
        }
        text.metric(
            "jobledger_log_waiting_appenders", "gauge", "Sessions that wait for the log.", lags.holder?.waiting ?? 0)
        text.metric(
            "jobledger_clock_ahead_seconds", "gauge",
            "How far the last event's time is ahead of the server's clock.", Int(lags.log.clockAhead / .seconds(1)))
        text.metric(
            "jobledger_epochs", "gauge", "Epochs of the log: one more for each failover and restore.",
            lags.log.epochs.count)
        text.metric(
            "jobledger_lost_events", "gauge",
            "Events that readers had and the log has lost, as far as it is known; jobledger lost says more.",
            KnownLoss.count(lags.losses))
        text.metric(
            "jobledger_relay_lag_events", "gauge", "Events that have not been published.",
            max(0, lags.log.head - lags.log.published))
        text.metric(
            "jobledger_seal_lag_events", "gauge", "Events that are not sealed.",
            max(0, lags.log.head - lags.seal.position))
        text.metric(
            "jobledger_seal_stopped", "gauge",
            "Whether sealing has stopped; jobledger status and the sealer's log say why.",
            lags.seal.stopped == nil ? 0 : 1)
    }

    private func write(_ projections: [ProjectionStatus], head: Position, to text: inout PrometheusText) {
        func metric(_ name: String, _ type: String, _ help: String, _ value: (ProjectionStatus) -> Int64?) {
            text.metric(name, type, help)
            for projection in projections {
                guard let value = value(projection) else { continue }
                text.sample(name, [("projection", projection.name)], "\(value)")
            }
        }
        metric("jobledger_projection_lag_events", "gauge", "Events that have not been folded.") {
            max(0, head - $0.position)
        }
        metric("jobledger_projection_stopped", "gauge", "Whether a projection has stopped at an event.") {
            $0.stopped == nil ? 0 : 1
        }
        metric(
            "jobledger_projection_stopped_position", "gauge",
            "The position of the event that stopped a projection; 0 while it runs."
        ) { $0.stopped?.position ?? 0 }
        metric(
            "jobledger_projection_audited_jobs_total", "counter",
            "Jobs that were refolded and compared with the read model."
        ) { $0.drift?.jobs ?? 0 }
        metric(
            "jobledger_projection_drifted_jobs_total", "counter",
            "Compared jobs whose read model had drifted from the log."
        ) { $0.drift?.drifted ?? 0 }
        metric("jobledger_rebuild_lag_events", "gauge", "Events that a rebuild under way still has to fold.") {
            $0.rebuild.map { max(0, max(head, $0.goal) - $0.position) }
        }
    }
}
