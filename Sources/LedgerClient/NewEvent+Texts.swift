import LedgerCore

extension NewEvent {
    /// Data and metadata are sent as they are. Text that is not a JSON object would change the JSON
    /// around it.
    func checkTexts() throws(Refusal) {
        for (name, text) in [("data", data), ("metadata", metadata)] {
            do {
                _ = try JSONText.slices(of: Array(text.utf8)[...])
            } catch {
                throw Refusal(.invalidEvent, "\(name) must be a JSON object: \(error)")
            }
        }
    }
}
