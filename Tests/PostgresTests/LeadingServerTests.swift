import Testing
import Texts

@testable import Postgres

/// Which server the sessions with one address go on with.
@Suite struct LeadingServerTests {
    private let first = ServerTimeline(systemIdentifier: "7", timeline: "0000000A", started: "1")
    private let second = ServerTimeline(systemIdentifier: "7", timeline: "0000000B", started: "2")
    private let elsewhere = ServerTimeline(systemIdentifier: "8", timeline: "00000001", started: "3")

    @Test func theLaterTimelineIsFollowed() throws {
        let leading = LeadingServer(memory: .seconds(600))
        // Before anything is known, nothing is refused.
        try leading.check(first)
        try leading.meet(first)
        try leading.meet(first)
        try leading.meet(second)
        try leading.check(second)
        for refused in [
            #expect(throws: PostgresError.self) { try leading.check(first) },
            #expect(throws: PostgresError.self) { try leading.meet(first) },
        ] {
            let error = try #require(refused)
            #expect(error.isLeftBehind && error.isRetriable && !error.outcomeIsUnknown && error.isConnectionFailure)
            #expect("\(error)".contains("0000000A") && "\(error)".contains("0000000B"))
        }
        // Meeting an old leader changes nothing.
        try leading.check(second)
    }

    /// The cluster's manager may decide for the old leader after all: then nobody meets the later
    /// timeline any more.
    @Test func aLaterTimelineThatIsGoneIsForgotten() throws {
        let leading = LeadingServer(memory: .zero)
        try leading.meet(second)
        try leading.meet(first)
        try leading.check(first)
        #expect(throws: PostgresError.self) { try leading.check(second) }
        try leading.meet(second)
        #expect(throws: PostgresError.self) { try leading.check(first) }
    }

    /// A server that ends its sessions, or is found to be a standby, does not keep anybody from the
    /// old leader.
    @Test func aServerThatSaysThatItEndsIsForgotten() throws {
        let leading = LeadingServer(memory: .seconds(600))
        for end in [{ leading.hasEnded(second) }, { leading.isStandby(1) }] {
            try leading.meet(second, at: 1)
            // This is about others.
            leading.hasEnded(first)
            leading.isStandby(0)
            #expect(throws: PostgresError.self) { try leading.meet(first) }
            // It leads after all.
            end()
            #expect(leading.knowsNone)
            try leading.meet(second, at: 1)
            #expect(!leading.knowsNone)
            #expect(throws: PostgresError.self) { try leading.meet(first) }
            end()
            // The others are asked, and decide nothing.
            #expect(throws: PostgresError.self) { try leading.meet(first, isSurvey: true) }
            try leading.meet(first)
            try leading.check(first)
            #expect(throws: PostgresError.self) { try leading.check(second) }
        }
    }

    @Test func anotherClusterReplacesTheOneBefore() throws {
        let leading = LeadingServer()
        try leading.meet(second)
        try leading.meet(elsewhere)
        try leading.check(elsewhere)
        #expect(throws: PostgresError.self) { try leading.check(second) }
        try leading.meet(first)
        #expect(throws: PostgresError.self) { try leading.check(elsewhere) }
    }

    /// Two standbys that were promoted without knowing of each other write the same timeline.
    @Test func ofTwoOnOneTimelineTheLastMetIsFollowed() throws {
        let leading = LeadingServer(memory: .seconds(600))
        var twin = second
        twin.started = "later"
        try leading.meet(second)
        try leading.meet(twin)
        try leading.check(twin)
        #expect(throws: PostgresError.self) { try leading.check(second) }
        try leading.meet(second)
        #expect(throws: PostgresError.self) { try leading.check(twin) }
    }

    /// A host that is asked because the address names it replaces only an earlier timeline.
    @Test func aSurveyFollowsALaterTimelineOnly() throws {
        let leading = LeadingServer(memory: .seconds(600))
        var twin = second
        twin.started = "later"
        #expect(leading.knowsNone)
        try leading.meet(first, isSurvey: true)
        #expect(!leading.knowsNone)
        try leading.meet(second, isSurvey: true)
        for other in [first, twin, elsewhere] {
            #expect(throws: PostgresError.self) { try leading.meet(other, isSurvey: true) }
            try leading.check(second)
        }
    }

    @Test func anAddressHasOne() {
        let url = "postgresql:///\(#function)"
        #expect(LeadingServer.of(url) === LeadingServer.of(url))
        #expect(LeadingServer.of(url) !== LeadingServer.of(url + "?"))
    }

    @Test(arguments: [
        ("postgresql://a/x", []),
        ("postgresql://a,b/x", ["host=a port=5432", "host=b port=5432"]),
        ("postgresql://a:1,b:2/x", ["host=a port=1", "host=b port=2"]),
        ("host=a,b,c port=5", ["host=a port=5", "host=b port=5", "host=c port=5"]),
        ("host=a,b hostaddr=1.1.1.1,2.2.2.2", ["host=a hostaddr=1.1.1.1", "host=b hostaddr=2.2.2.2"]),
        ("hostaddr=1.1.1.1,2.2.2.2 port=1,2", ["hostaddr=1.1.1.1 port=1", "hostaddr=2.2.2.2 port=2"]),
    ])
    func hostsOfAnAddress(_ address: String, _ hosts: [String]) throws {
        let found = try ConnectionString(SecretText(address)).hosts.map { options in
            options.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        }
        #expect(found == hosts)
    }
}
