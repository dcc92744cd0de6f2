import Foundation
import NIOHTTP1

/// Keys that are no letters, as WebDriver writes them.
enum Key {
    static let enter = "\u{E007}"
    static let escape = "\u{E00C}"
    static let tab = "\u{E004}"
    static let end = "\u{E010}"
    static let home = "\u{E011}"
    static let pageDown = "\u{E00F}"
    static let left = "\u{E012}"
    static let up = "\u{E013}"
    static let right = "\u{E014}"
    static let down = "\u{E015}"
}

extension Tab {
    /// Presses keys one after the other, as a person does, in whatever has the focus.
    func press(_ keys: String...) async throws { try await strike(keys) }

    /// Types a text into whatever has the focus.
    func type(_ text: String) async throws { try await strike(text.map { String($0) }) }

    private func strike(_ keys: [String]) async throws {
        let actions = keys.flatMap { key -> [JSON] in
            [["type": "keyDown", "value": .string(key)], ["type": "keyUp", "value": .string(key)]]
        }
        try await act(["type": "key", "id": "keys", "actions": .array(actions)])
    }

    private func act(_ source: JSON) async throws {
        try await browser.send(.POST, "/actions", ["actions": [source]])
    }

    /// Clicks on the element of a selector once it is there, with the pointer.
    func click(_ selector: String) async throws {
        let element = try await element(selector)
        try await browser.send(.POST, "/element/\(element)/click")
    }

    /// Clicks on the button or link with this text, within an element.
    func click(text: String, in selector: String = "body") async throws {
        let mark = "data-test-click"
        try await until(
            "there is “\(text)” in \(selector)",
            """
            const [text, selector, mark] = given
            for (const old of document.querySelectorAll(`[${mark}]`)) old.removeAttribute(mark)
            const found = [...document.querySelector(selector).querySelectorAll("button, a, summary")]
                .find(one => one.checkVisibility() && !one.disabled && one.textContent.trim() === text)
            found?.setAttribute(mark, "")
            return found !== undefined
            """, .string(text), .string(selector), .string(mark))
        try await click("[\(mark)]")
    }

    /// Replaces what is in a field, and leaves it, so that the page knows.
    func enter(_ text: String, into selector: String) async throws {
        let element = try await element(selector)
        try await browser.send(.POST, "/element/\(element)/clear")
        try await browser.send(.POST, "/element/\(element)/value", ["text": .string(text)])
    }

    /// Chooses a file, or types, without leaving the field.
    func give(_ text: String, to selector: String) async throws {
        let element = try await element(selector)
        try await browser.send(.POST, "/element/\(element)/value", ["text": .string(text)])
    }

    /// Chooses an option of a list by its value.
    func choose(_ value: String, in selector: String) async throws {
        try await click("\(selector) option[value='\(value)']")
    }

    /// Draws with the pointer from one place of the window to another.
    func drag(from start: (x: Int, y: Int), to end: (x: Int, y: Int)) async throws {
        func move(_ x: Int, _ y: Int) -> JSON {
            ["type": "pointerMove", "duration": 30, "x": .number(Double(x)), "y": .number(Double(y))]
        }
        let steps = (1...4).map { step in
            move(start.x + (end.x - start.x) * step / 4, start.y + (end.y - start.y) * step / 4)
        }
        let actions: [JSON] =
            [move(start.x, start.y), ["type": "pointerDown", "button": 0]] + steps
            + [["type": "pointerUp", "button": 0]]
        try await act(
            [
                "type": "pointer", "id": "mouse", "parameters": ["pointerType": "mouse"], "actions": .array(actions),
            ])
    }

    /// The place of an element in the window.
    func box(_ selector: String) async throws -> (left: Int, top: Int, width: Int, height: Int) {
        let box = try await until(
            "\(selector) has a place",
            """
            const { left, top, width, height } = document.querySelector(given[0]).getBoundingClientRect()
            return width > 0 && [left, top, width, height].map(Math.round)
            """, .string(selector)
        ).elements.map { $0.integer ?? 0 }
        return (box[0], box[1], box[2], box[3])
    }

    private func element(_ selector: String) async throws -> String {
        try await until("there is \(selector)", "return document.querySelector(given[0]) !== null", .string(selector))
        let found = try await browser.send(
            .POST, "/element", ["using": "css selector", "value": .string(selector)])
        guard case .object(let members) = found, let id = members.values.first?.text else {
            throw BrowserTrouble(description: "\(selector): \(found)")
        }
        return id
    }

    // MARK: What the page is shown on

    func size(_ width: Int, _ height: Int) async throws {
        try await browser.chromium(
            "Emulation.setDeviceMetricsOverride",
            [
                "width": .number(Double(width)), "height": .number(Double(height)), "deviceScaleFactor": 1,
                "mobile": false,
            ])
    }

    /// What a person has chosen in the system: dark colours, little motion.
    func prefer(dark: Bool = false, reducedMotion: Bool = false) async throws {
        try await browser.chromium(
            "Emulation.setEmulatedMedia",
            [
                "features": [
                    ["name": "prefers-color-scheme", "value": dark ? "dark" : "light"],
                    ["name": "prefers-reduced-motion", "value": reducedMotion ? "reduce" : "no-preference"],
                ]
            ])
    }
}
