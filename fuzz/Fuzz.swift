import Foundation
import LedgerCore

/// What the fuzzer calls with one input after the other: the parser that FUZZ_TARGET names is given
/// it, and what has to hold of every answer is looked at. A trap, a hang or a broken promise ends
/// the process, and the input is kept: see scripts/fuzz.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // The fuzzer lends the bytes for the time of this call.
    target(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

private let targets: [String: @Sendable ([UInt8]) -> Void] = [
    "addresses": fuzzAddresses, "events": fuzzEvents, "feed": fuzzFeed, "json": fuzzJSON, "log": fuzzLog,
    "migrations": fuzzMigrations,
    "notes": fuzzNotes, "settings": fuzzSettings, "sql": fuzzSQL, "streams": fuzzStreams, "tiles": fuzzTiles,
    "times": fuzzTimes,
]

private let target: @Sendable ([UInt8]) -> Void = {
    let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"] ?? ""
    guard let target = targets[name] else { fatalError("FUZZ_TARGET must be one of \(targets.keys.sorted())") }
    return target
}()

/// Ends the process where a promise is broken.
func expect(_ holds: Bool, _ promise: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line) {
    if !holds { fatalError(promise(), file: file, line: line) }
}
