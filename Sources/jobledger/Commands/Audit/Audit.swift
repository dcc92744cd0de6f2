import ArgumentParser

struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask who did what, when and why; seal the log, and prove what it says.",
        discussion: """
            docs/audit-trail.md explains the questions. docs/audit.md explains the seal: what it protects against, \
            from when on, and how to check it without this program.

            EXAMPLE
              jobledger audit events --type failed --limit 10
              jobledger audit verify
            """,
        subcommands: [
            AuditEvents.self, AuditWhy.self, AuditActor.self, AuditJob.self, AuditRefusals.self, AuditVerify.self,
            AuditProve.self, AuditCheck.self, AuditConsistency.self, AuditAnchor.self, AuditTiles.self,
            AuditSeal.self, AuditKey.self,
        ])
}
