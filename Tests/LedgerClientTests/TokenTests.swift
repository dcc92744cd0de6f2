import LedgerCore
import Testing

@testable import LedgerClient

@Suite struct TokenTests {
    /// The HTTP client's error would show a header that it cannot send.
    @Test(arguments: ["jl_S3CR3T\n", "jl_S3CR3T\r", "jl_ S3CR3T", "jl_S3CR3T\u{7F}", "jl_S3CR3Té"])
    func aTokenThatNoHeaderCanHoldIsRefusedWithoutShowingIt(_ token: String) throws {
        let error = try #require(throws: LedgerClientError.self) {
            try LedgerClient(url: "http://127.0.0.1:1", token: token)
        }
        #expect(error.kind == .configuration && !error.message.contains("S3CR3T"))
    }
}
