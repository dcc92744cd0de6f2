import Foundation
package import PrivateFiles

/// The TCP port of a service on 127.0.0.1. It is kept in a file, so that URLs stay valid from one
/// start to the next.
package enum LocalPort {
    /// Below the range of the ports that Linux gives to outgoing connections. Such a connection
    /// could otherwise take the port while the service restarts.
    private static let range: Range<UInt16> = 20_000..<32_000

    /// The port kept in the file if it is free; otherwise a free port, which is then kept.
    /// - Parameters:
    ///   - file: the name of the file in `directory`.
    ///   - owner: the owner of the file; this process's user if not given.
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

    /// Starts a service. Tries another port if another process took the chosen one before the
    /// service could listen on it.
    /// - Parameters:
    ///   - make: makes the service and chooses its port; `nil` if it listens on no port.
    ///   - launch: throws if the service cannot listen on the port.
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
        // As servers do, ignore connections of the last run that are still in TIME_WAIT.
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
