package import Logging

extension Logger {
    /// Logs to standard error, a line an entry, in the form of swift-log's own handlers.
    package static func standardError(_ label: String) -> Logger {
        Logger(label: label) {
            StreamLogHandler(label: $0, stream: LogLines(), metadataProvider: LoggingSystem.metadataProvider)
        }
    }
}

/// Takes whole entries, each with its line feed, as the handler writes them.
private struct LogLines: TextOutputStream {
    func write(_ entry: String) { StandardError.log(entry.hasSuffix("\n") ? String(entry.dropLast()) : entry) }
}
