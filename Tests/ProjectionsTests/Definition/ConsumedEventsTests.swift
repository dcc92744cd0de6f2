import LedgerCore
import LedgerTesting
import Projections
import Testing

/// What `consumes` and `rows` of a manifest may say.
@Suite struct ConsumedEventsTests {
    private static func definition(_ consumes: String, more: String = "") throws -> ProjectionDefinition {
        let manifest = #"{"name":"p","consumes":\#(consumes),"key":"log","tables":["p","q"]\#(more)}"#
        return try ProjectionDefinition(
            folder: "p", files: ["projection.json": manifest, "schema.sql": "", "apply.sql": ""])
    }

    @Test func listsObjectsAndEverything() throws {
        #expect(try Self.definition(#"["queued", "failed"]"#).consumes.types == [.job: [.queued, .failed]])
        let mixed = try Self.definition(#"{"job": ["queued"], "user": ["registered", "removed"]}"#).consumes
        let user = try #require(Category("user"))
        #expect(mixed.types[.job] == [.queued])
        #expect(mixed.types[user]?.map(\.rawValue).sorted() == ["registered", "removed"])
        #expect(mixed.includes(user) && !mixed.isEverything)
        let everything = try Self.definition(#""*""#).consumes
        #expect(everything.isEverything && everything.includes(user))
        #expect(everything.types == [.job: Set(EventType.jobTypes)])
    }

    /// A definition of jobs alone has one hash, however it names them. It is that of earlier
    /// versions, so nothing is rebuilt.
    @Test func hashes() throws {
        let old = try Self.definition(#"["queued", "failed"]"#)
        #expect(old.hash == "ce33f8d6f569c279862beebe1da70716b1b83d5678c4211fe65ded56890aecdf")
        #expect(try Self.definition(#"{"job": ["failed", "queued"]}"#).hash == old.hash)
        #expect(try Self.definition(#"["queued", "failed"]"#, more: #","rows":{"job":"q"}"#).hash == old.hash)
        let others = try [
            #"{"job": ["failed", "queued"], "user": ["registered"]}"#, #"{"user": ["registered"]}"#, #""*""#,
            #"["queued", "progress", "truncated", "finished", "failed"]"#,
        ].map { try Self.definition($0).hash }
        #expect(Set(others + [old.hash]).count == 5)
    }

    @Test(arguments: [
        ("[]", "must name event types"), ("{}", "must name event types"), ("7", "must name event types"),
        (#""all""#, "must name event types"), (#"{"user": []}"#, "must name event types"),
        (#"{"user": [7]}"#, "must name event types"), (#"["registered"]"#, #"unknown: ["registered"]"#),
        (#"{"job": ["registered"]}"#, #"unknown: ["registered"]"#),
        (#"{"user": ["Signed Up"]}"#, #"unknown: ["Signed Up"]"#),
        (#"{"User": ["registered"]}"#, "must be the name of a category"),
        (#"{"user": ["registered"], "user": ["removed"]}"#, "\"consumes\" has \"user\" twice"),
    ])
    func refusesOtherThings(_ consumes: String, _ report: String) throws {
        let error = try #require(throws: ProjectionDefinition.FormatError.self) { try Self.definition(consumes) }
        #expect(error.description.contains(report), "\(error)")
    }

    @Test(arguments: [
        (#"{"user": "p"}"#, "\"user\" is not known; known are job"),
        (#"{"job": "r"}"#, "rows/job must name one of the"),
        (#"{"job": {"by": "q"}}"#, "rows/job: \"table\" is missing"),
        (#"{"job": {"table": "p", "by": "r"}}"#, "must name one of"),
        (#"{"job": {"table": "p", "on": "q"}}"#, "\"on\" is not known"), (#"["p"]"#, "is no JSON object"),
    ])
    func refusesOtherRows(_ rows: String, _ report: String) throws {
        let error = try #require(throws: ProjectionDefinition.FormatError.self) {
            try Self.definition(#"["queued"]"#, more: ",\"rows\":\(rows)")
        }
        #expect(error.description.contains(report), "\(error)")
    }

    /// The read model that shows a category is found, or chosen among several.
    @Test func theReadModelOfACategory() throws {
        let one = try Self.definition(#"["queued"]"#, more: #","rows":{"job":"q"}"#)
        let two = try ProjectionDefinition.all().first { $0.name == "batch_jobs" }!
        let user = try #require(Category("user"))
        #expect(try ProjectionDefinition.showing(.job, among: [one]) == one)
        #expect(try ProjectionDefinition.showing(.job, named: "batch_jobs", among: [one, two]) == two)
        for (category, name, report) in [
            (Category.job, nil, "several projections show the category job: choose one of p, batch_jobs"),
            (.job, "r", "the projection r does not show the category job"),
            (user, nil, "no projection has a row for each stream of the category user"),
        ] as [(Category, String?, String)] {
            let error = try #require(throws: NoReadModel.self) {
                try ProjectionDefinition.showing(category, named: name, among: [one, two])
            }
            #expect(error.description.contains(report), "\(error)")
        }
    }
}
