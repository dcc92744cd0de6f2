import LedgerCore
import Projections

extension TopModel {
    /// A key was pressed.
    package mutating func press(_ key: Key, at time: TopTime) {
        if typed != nil { return type(key, time) }
        switch view {
        case .keys(let isOverJob): view = isOverJob ? .job : .list
        case .list: pressInList(key, time)
        case .job: pressInJob(key, time)
        }
    }

    // MARK: The table

    private mutating func pressInList(_ key: Key, _ time: TopTime) {
        switch key {
        case .up, .text("k"), .control("p"): select(selected - 1)
        case .down, .text("j"), .control("n"): select(selected + 1)
        case .pageUp, .control("b"), .control("u"): page(-room)
        case .pageDown, .control("f"), .control("d"), .text(" "): page(room)
        case .home, .text("g"): select(0)
        case .end, .text("G"): select(listCount.map { $0 - 1 } ?? skipped + rows.count - 1)
        case .enter, .right, .text("l"): open()
        case .text("/"): typed = (conditions.text ?? "", conditions.text)
        case .text("s"): sort(by: 1, time)
        case .text("S"): sort(by: -1, time)
        case .text("r"):
            conditions.order = conditions.order == .ascending ? .descending : .ascending
            restart(time)
        case .text("f"):
            isRunningOnly.toggle()
            restart(time)
        case .text("p"): pause(time)
        case .text("?"), .text("h"): view = .keys(over: false)
        case .escape, .backspace:
            guard conditions.text != nil else { return }
            conditions.text = nil
            restart(time)
        case .text("q"): isOver = true
        default: break
        }
    }

    private mutating func page(_ lines: Int) {
        above = max(0, above + lines)
        select(selected + lines)
    }

    private mutating func open() {
        guard let row = row(selected) else { return }
        selectedID = row.id
        opened = Opened(row: row)
        view = .job
    }

    private mutating func sort(by step: Int, _ time: TopTime) {
        let all = JobListQuery.Sort.allCases
        let index = all.firstIndex(of: conditions.sort) ?? 0
        let sort = all[(index + step + all.count) % all.count]
        conditions.sort = sort
        // Its usual order.
        conditions.order = JobListQuery(sort: sort).order
        restart(time)
    }

    private mutating func pause(_ time: TopTime) {
        if pausedAt != nil {
            pausedAt = nil
        } else if answeredAt != nil {
            pausedAt = (position, time)
        }
    }

    // MARK: A job

    private mutating func pressInJob(_ key: Key, _ time: TopTime) {
        guard let opened else {
            view = .list
            return
        }
        let room = eventRoom(at: time)
        let most = max(0, (opened.answer?.events.count ?? 0) - room)
        func scroll(_ lines: Int) -> Int { min(max(0, opened.below + lines), most) }
        switch key {
        case .up, .text("k"), .control("p"): self.opened?.below = scroll(1)
        case .down, .text("j"), .control("n"): self.opened?.below = scroll(-1)
        case .pageUp, .control("b"), .control("u"): self.opened?.below = scroll(room)
        case .pageDown, .control("f"), .control("d"), .text(" "): self.opened?.below = scroll(-room)
        case .home, .text("g"): self.opened?.below = most
        case .end, .text("G"), .text("f"): self.opened?.below = 0
        case .text("p"): pause(time)
        case .text("?"): view = .keys(over: true)
        case .escape, .backspace, .left, .text("h"), .text("q"):
            self.opened = nil
            view = .list
        default: break
        }
    }

    // MARK: The text of the filter

    private static let longestText = 200

    /// The table shows what the text finds while it is typed.
    private mutating func type(_ key: Key, _ time: TopTime) {
        guard let typed else { return }
        var text = typed.text
        switch key {
        case .text(let scalar):
            guard text.unicodeScalars.count < Self.longestText else { return }
            text.unicodeScalars.append(scalar)
        case .backspace where text.isEmpty, .enter:
            self.typed = nil
            return
        case .backspace: text.removeLast()
        case .control("u"): text = ""
        case .control("w"):
            while text.last == " " { text.removeLast() }
            while let last = text.last, last != " " { text.removeLast() }
        case .escape:
            self.typed = nil
            return filter(typed.before, time)
        default: return
        }
        self.typed?.text = text
        filter(text, time)
    }

    private mutating func filter(_ text: String?, _ time: TopTime) {
        let text = text == "" ? nil : text
        guard text != conditions.text else { return }
        conditions.text = text
        restart(time)
    }
}
