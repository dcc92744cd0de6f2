import AsyncHTTPClient
import Foundation
import LedgerTesting
import NIOCore
import NIOHTTP1

@testable import EmbeddedServices

/// `jobledger serve` on the ledger of a test, and ways to send requests to it.
struct ServiceProcess: Sendable {
    let program: RunningProgram
    let url: String
    /// A token with all scopes.
    let token: String
    let user: UserLedger

    /// A client that reports at once if it cannot connect.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(configuration: configuration)
    }()

    var port: Int { URLComponents(string: url)?.port ?? 0 }

    /// - Parameters:
    ///   - environment: settings in addition to those of the ledger.
    ///   - port: the port to listen on; 0 for a free one.
    static func with(
        _ user: UserLedger, environment: [String: String] = [:], _ arguments: [String] = [], port: Int = 0,
        token: String? = nil,
        _ body: (ServiceProcess) async throws -> Void
    ) async throws {
        let service = try await start(user, environment: environment, arguments, port: port, token: token)
        do {
            try await body(service)
        } catch {
            await service.program.kill()
            throw error
        }
        await service.program.kill()
    }

    static func start(
        _ user: UserLedger, environment: [String: String] = [:], _ arguments: [String] = [], port: Int = 0,
        token: String? = nil
    ) async throws -> ServiceProcess {
        let token = if let token { token } else { try await user.token("append,read,admin") }
        let program = try await Program.jobledger.start(
            ["serve", "--port", "\(port)"] + arguments, environment: user.environment.merging(environment) { $1 })
        let url = try await eventually("the service tells its address") { () -> String? in
            if !program.isRunning { throw ProgramTrouble(description: "serve ended:\n\(program.errors)") }
            return program.lines.first
        }
        return ServiceProcess(program: program, url: url, token: token, user: user)
    }

    /// Appends one event. Repeats the request until there is an answer other than 503.
    /// - Returns: the position, and whether the event had been appended before.
    func append(_ event: String, to job: String) async throws -> (position: Int, isDuplicate: Bool) {
        while true {
            do {
                let (status, body) = try await ask("POST", "/v1/jobs/\(job)/events", event)
                if status == 503 {
                    try await Task.sleep(for: .milliseconds(20))
                    continue
                }
                guard status == 200 || status == 201, let position = try JSONValue(parsing: body)["position"]?.integer
                else {
                    throw ProgramTrouble(description: "\(status) \(body)")
                }
                return (position, status == 200)
            } catch let error as ProgramTrouble {
                throw error
            } catch {
                // The service is away: it is being killed and started again.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    func ask(_ method: String, _ path: String, _ body: String? = nil) async throws -> (status: Int, body: String) {
        var request = HTTPClientRequest(url: url + path)
        request.method = .RAW(value: method)
        request.headers.add(name: "authorization", value: "Bearer \(token)")
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        let response = try await Self.client.execute(request, timeout: .seconds(30))
        return (Int(response.status.code), String(buffer: try await response.body.collect(upTo: 16 << 20)))
    }

    // MARK: curl

    static func curl() throws -> Program { Program(path: try Programs.find("curl", package: "curl")) }

    /// Runs curl with the token.
    func curl(_ arguments: String...) async throws -> Outcome {
        try await Self.curl().run(["--silent", "--show-error", "-H", "Authorization: Bearer \(token)"] + arguments)
    }

    /// Follows an event stream with `curl -N`.
    func follow(_ path: String, _ arguments: String...) async throws -> RunningProgram {
        try await Self.curl().start(
            [
                "-N", "--silent", "--show-error", "-H", "Authorization: Bearer \(token)", "-H",
                "Accept: text/event-stream", url + path,
            ] + arguments)
    }

    /// The resident memory of the service, in MB.
    var memory: Int {
        let status = (try? String(contentsOfFile: "/proc/\(program.process.pid)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) / 1024
    }
}

extension UserLedger {
    func token(_ scopes: String) async throws -> String {
        let outcome = try await run("token", "create", "--scope", scopes, "--json")
        guard let token = try outcome.json()["token"]?.text else { throw ProgramTrouble(description: "\(outcome)") }
        return token
    }
}
