import LedgerCore

extension NewEvent {
    /// Data and metadata go into a request as they are. What is no JSON object would change what
    /// stands around it.
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
