import Foundation
package import PrivateFiles

/// The TCP port of a service on 127.0.0.1, remembered in a file so that URLs stay true from one
/// start to the next.
package enum LocalPort {
    /// Below the range from which Linux takes the ports of outgoing connections: one of those could
    /// take ours while the service restarts.
    private static let range: Range<UInt16> = 20_000..<32_000

    /// The remembered port when it is free, else a free one, which is remembered.
    /// - Parameters:
    ///   - file: the name of the file in `directory`.
    ///   - owner: whose the file is; ours unless given.
    package static func choose(
        rememberedIn file: String, of directory: DirectoryHandle, for owner: FileOwner? = nil
    ) throws -> UInt16 {
        if let text = try directory.read(file), let port = UInt16(text), port > 1023, isFree(port) { return port }
        for _ in 0..<200 {
            let port = UInt16.random(in: range)
            guard isFree(port) else { continue }
            try directory.write(String(port), to: file, for: owner)
            return port
        }
        throw EmbeddedServiceError(
            "found no free TCP port on 127.0.0.1 from \(range.lowerBound) to \(range.upperBound - 1)")
    }

    /// Starts a service, on another port if somebody else took the one that was chosen before the
    /// service could.
    /// - Parameters:
    ///   - make: chooses the port, or none where it listens on no port.
    ///   - launch: fails if it cannot listen there.
    static func start<Service: Sendable>(
        _ make: () async throws -> (Service, port: UInt16?), _ launch: (Service) async throws -> Void
    ) async throws -> Service {
        var attempt = 1
        while true {
            let (service, port) = try await make()
            do {
                try await launch(service)
                return service
            } catch  where attempt < 5 && !Task.isCancelled && port.map({ !isFree($0) }) ?? false {
                attempt += 1
            }
        }
    }

    static func isFree(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // As servers do: connections of the last run that linger do not count.
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        // A sockaddr_in is a sockaddr to bind(2): the view is valid for this call.
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return bound == 0
    }
}
