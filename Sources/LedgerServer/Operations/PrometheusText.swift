/// Writes metrics in Prometheus's text format, version 0.0.4.
struct PrometheusText {
    private(set) var text = ""

    static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// Begins a metric; its samples follow.
    mutating func metric(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// A metric with one sample and no labels.
    mutating func metric(_ name: String, _ type: String, _ help: String, _ value: some BinaryInteger) {
        metric(name, type, help)
        sample(name, [], "\(value)")
    }

    mutating func sample(_ name: String, _ labels: [(name: String, value: String)], _ value: String) {
        let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
        text += list.isEmpty ? "\(name) \(value)\n" : "\(name){\(list)} \(value)\n"
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
