package import Logging

extension Logger {
    /// A logger that writes to standard error, one line an entry, in the format of swift-log.
    package static func standardError(_ label: String) -> Logger {
        Logger(label: label) {
            StreamLogHandler(label: $0, stream: LogLines(), metadataProvider: LoggingSystem.metadataProvider)
        }
    }
}

/// The stream that swift-log writes to. Each write is one entry with its line feed.
private struct LogLines: TextOutputStream {
    func write(_ entry: String) { StandardError.log(entry.hasSuffix("\n") ? String(entry.dropLast()) : entry) }
}
