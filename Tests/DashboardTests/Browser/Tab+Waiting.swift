extension Tab {
    /// Waits until an element shows a text.
    func untilText(_ text: String, in selector: String = "body") async throws {
        try await until(
            "“\(text)” in \(selector)",
            "return document.querySelector(given[1]).innerText.includes(given[0])", .string(text), .string(selector))
    }

    /// Waits until the address is this path with these parameters.
    func untilAddress(_ address: String) async throws {
        try await until(
            "the address", is: .string(address), "return decodeURIComponent(location.pathname + location.search)")
    }

    /// Waits until there is an element.
    func untilThere(_ selector: String) async throws {
        try await until("there is \(selector)", "return document.querySelector(given[0]) !== null", .string(selector))
    }

    /// Waits until the elements of a selector have these texts.
    /// - Parameters:
    ///   - count: of the elements only so many; all by default.
    ///   - text: what the text of the element `one` is, in JavaScript.
    func untilTexts(
        of selector: String, are expected: [String], first count: Int? = nil, text: String = "one.innerText"
    ) async throws {
        try await until(
            "the texts of \(selector)", is: JSON(expected),
            "return [...document.querySelectorAll(given[0])].slice(0, given[1] ?? Infinity).map(one => \(text))",
            .string(selector), count.map { .number(Double($0)) } ?? .null)
    }

    /// The number of elements.
    func count(_ selector: String) async throws -> Int {
        try await run("return document.querySelectorAll(given[0]).length", .string(selector)).integer ?? 0
    }

    /// Gives an element the focus, as Tab would.
    func focus(_ selector: String) async throws {
        try await untilThere(selector)
        try await run("document.querySelector(given[0]).focus()", .string(selector))
    }

    /// The counts beside the states of jobs: queued, running, finished, failed.
    func untilCounts(are expected: [String]) async throws {
        try await untilTexts(
            of: ".states button", are: expected, text: "one.title.split(' ')[0].replaceAll(',', '')")
    }
}
