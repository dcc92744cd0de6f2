import Foundation
import LedgerCore

/// The fuzzer calls this with one input after the other. It passes the input to the parser that
/// FUZZ_TARGET names, and checks what must hold for every answer. A trap, a hang or a failed check
/// ends the process, and the fuzzer keeps the input: see scripts/fuzz.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // The bytes are valid during this call; they are copied.
    target(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

private let targets: [String: @Sendable ([UInt8]) -> Void] = [
    "addresses": fuzzAddresses, "categories": fuzzCategories, "events": fuzzEvents, "feed": fuzzFeed, "json": fuzzJSON,
    "log": fuzzLog,
    "migrations": fuzzMigrations,
    "notes": fuzzNotes, "settings": fuzzSettings, "sql": fuzzSQL, "streams": fuzzStreams, "tiles": fuzzTiles,
    "times": fuzzTimes,
]

private let target: @Sendable ([UInt8]) -> Void = {
    let name = ProcessInfo.processInfo.environment["FUZZ_TARGET"] ?? ""
    guard let target = targets[name] else { fatalError("FUZZ_TARGET must be one of \(targets.keys.sorted())") }
    return target
}()

/// Ends the process if the check does not hold.
func expect(_ holds: Bool, _ promise: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line) {
    if !holds { fatalError(promise(), file: file, line: line) }
}
