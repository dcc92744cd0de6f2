import Testing

extension EndToEnd {
    @Suite("the guide to categories") struct CategoryGuideTests {
        @Test("is right in every command and its output") func follow() async throws {
            try await UserLedger.with { user in
                try await Guide("categories.md").follow(user, outputs: 10)
            }
        }
    }
}
