import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Projections
import Testing

@Suite struct CasesTests {
    @Test func theCasesOfEveryProjectionHold() async throws {
        let definitions = try ProjectionDefinition.all()
        #expect(
            definitions.map(\.name) == ["audit_log", "backtesting", "batch_job_runs", "batch_jobs", "daily_job_stats"])
        for definition in definitions { #expect(!definition.cases.isEmpty, "\(definition.name) has no cases") }
        for outcome in try await Cases(definitions).run(url: try await TestServers.shared.postgresURL()) {
            #expect(outcome.problems.isEmpty, "\(outcome.projection) \(outcome.file): \(outcome.problems)")
        }
    }

    /// A case fails for a wrong value, a missing row, an unexpected row, or a history that the
    /// ledger refuses.
    @Test(arguments: [
        (#""completed": 6"#, #""completed": 5"#, "completed differ"),
        (#""id": "sma""#, #""id": "other""#, "the row is missing"),
        (#""type": "finished""#, #""type": "queued""#, "JL006"),
        (#""job": "sma", "type": "queued""#, #""job": "x", "type": "queued""#, "JL001"),
        // A misspelled or repeated member, which would otherwise be ignored.
        (#""about""#, #""abuot""#, "\"abuot\" is not known"), (#""expect""#, #""expects""#, "\"expects\" is not known"),
        (#""type": "queued""#, #""type": "queued", "metdata": {}"#, "event 1: \"metdata\" is not known"),
        (#""type": "queued""#, #""type": "queued", "type": "failed""#, "event 1: \"type\" appears twice"),
    ])
    func reportsCasesThatDoNotHold(_ text: String, _ replacement: String, _ report: String) async throws {
        let definition = try ProjectionDefinition.builtIn("batch_jobs")
        let original = try #require(definition.cases.first { $0.file == "finishes.json" }).text
        let broken = original.replacing(text, with: replacement)
        try #require(broken != original)
        let definitionWithBrokenCase = try ProjectionDefinition(
            folder: "batch_jobs",
            files: [
                "projection.json": """
                {
                  "name": "batch_jobs", "consumes": ["queued", "progress", "truncated", "finished", "failed"],
                  "key": "stream_id", "tables": ["batch_jobs"]
                }
                """,
                "schema.sql": definition.schemaSQL, "apply.sql": definition.applySQL, "cases/broken.json": broken,
            ])
        let outcomes = try await Cases([definitionWithBrokenCase]).run(url: try await TestServers.shared.postgresURL())
        #expect(outcomes.count == 1)
        #expect(outcomes[0].problems.contains { $0.contains(report) }, "\(outcomes[0].problems)")
    }

    /// No member of a manifest is ignored.
    @Test(arguments: [
        (#""key":"log","kye":"stream_id""#, "\"kye\" is not known; known are name, consumes, key, tables, rows"),
        (#""key":"log","key":"stream_id""#, "\"key\" appears twice"),
        (#""key":"log","Key":"log""#, "\"Key\" is not known"),
        (#""key":"log","#, "is no JSON object"),
    ])
    func refusesUnknownMembersOfAManifest(_ key: String, _ report: String) throws {
        let error = try #require(throws: ProjectionDefinition.FormatError.self) {
            try ProjectionDefinition(
                folder: "p",
                files: [
                    "projection.json": #"{"name":"p","consumes":["queued"],\#(key),"tables":["p"]}"#, "schema.sql": "",
                    "apply.sql": "",
                ])
        }
        #expect(
            error.description.contains("projection p: projection.json") && error.description.contains(report),
            "\(error)")
    }
}
