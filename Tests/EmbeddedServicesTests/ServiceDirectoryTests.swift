import Foundation
import LedgerTesting
import PrivateFiles
import Testing

@testable import EmbeddedServices

@Suite struct ServiceDirectoryTests {
    /// A link is never followed, so the file behind it cannot be read: that is an error.
    @Test func unreadableIsNotMissing() async throws {
        try await withDirectory { directory in
            let service = try ServiceDirectory(directory, user: ServiceUser.current())
            #expect(try service.read("password") == nil)
            try service.write("secret", to: "password")
            #expect(try service.read("password") == "secret")
            #expect(symlink("password", service.path("link")) == 0)
            #expect(throws: FileFailure.self) { try service.read("link") }
        }
    }
}
