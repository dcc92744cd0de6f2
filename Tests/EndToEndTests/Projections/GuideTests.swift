import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("the guide to projections") struct GuideTests {
        @Test("is right in every command and its output") func follow() async throws {
            try await UserLedger.with { user in
                let schema = "guide_\(user.ledger.name)"
                try await Guide("projections.md").follow(user, outputs: 7, replacing: ["at_two": schema])
            }
        }

        @Test("ends with the projection that is built in") func ships() throws {
            let folder = Repository.root.appending(path: "projections/daily_job_stats")
            var compared = 0
            for block in try Guide("projections.md").blocks {
                guard let file = block.file, !file.contains("/cases/") else { continue }
                let shipped = try String(
                    contentsOf: folder.appending(path: URL(filePath: file).lastPathComponent), encoding: .utf8)
                #expect(shipped == block.text, "\(file)")
                compared += 1
            }
            #expect(compared == 3)
        }
    }
}
