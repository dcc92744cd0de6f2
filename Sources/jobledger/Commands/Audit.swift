import ArgumentParser

struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Seal the log, and prove what it says.",
        discussion: """
            What is protected from when, against whom, and how to check it without this program: docs/audit.md.

            EXAMPLE
              jobledger audit verify
            """,
        subcommands: [
            AuditVerify.self, AuditProve.self, AuditCheck.self, AuditConsistency.self, AuditAnchor.self, AuditTiles.self,
            AuditSeal.self,
            AuditKey.self,
        ])
}
