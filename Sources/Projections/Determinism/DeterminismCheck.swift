/// Searches statements that Postgres has parsed for results that the same events need not give
/// again.
struct DeterminismCheck {
    typealias Node = NodeTree.Node

    let catalog: SQLCatalog
    private let text: SQLText
    /// How many bytes preceded the text when it was parsed.
    private let before: Int
    /// The place of all diagnostics, if the tree's own locations do not belong to the text.
    private let fixedPlace: String?
    private(set) var diagnostics: [ProjectionDiagnostic] = []
    /// By table, the columns that some statement leaves to their defaults.
    private(set) var defaulted: [Int: Set<Int>] = [:]

    init(_ catalog: SQLCatalog, _ text: SQLText, before: Int = 0, at fixedPlace: String? = nil) {
        self.catalog = catalog
        self.text = text
        self.before = before
        self.fixedPlace = fixedPlace
    }

    mutating func check(_ tree: NodeTree) { visit(tree, in: []) }

    /// - Parameter queries: the queries that contain the tree, the innermost first.
    private mutating func visit(_ tree: NodeTree, in queries: [Node]) {
        switch tree {
        case .word, .null: return
        case .list(let elements): for element in elements { visit(element, in: queries) }
        case .node(let node):
            var queries = queries
            if node.tag == "QUERY" {
                queries.insert(node, at: 0)
                checkQuery(node, queries)
            } else {
                checkExpression(node, queries)
            }
            for (name, field) in node.fields.sorted(by: { $0.key < $1.key })
            where name != "joinaliasvars" && name != "eref" {
                visit(field, in: queries)
            }
        }
    }

    // MARK: Queries

    private mutating func checkQuery(_ query: Node, _ queries: [Node]) {
        for case .node(let entry) in query["rtable"].elements {
            if entry.number("rtekind") == 0, let table = entry.number("relid"), catalog.tables[table] == nil {
                let name = catalog.otherRelations[table] ?? "relation \(table)"
                report(
                    text.firstPlace(of: name).map(text.place) ?? text.file,
                    "\(name) is a table of another: its rows do not come from the events of this projection alone",
                    """
                    Read new_events and tables of this projection only. Fold what is needed of other tables into a \
                    table of this projection.
                    """)
            }
            if !entry["tablesample"].isNull {
                report(place(of: entry["tablesample"]), "TABLESAMPLE takes rows at random", "Take all of them.")
            }
        }
        let limits = [query["limitCount"], query["limitOffset"]].filter {
            !$0.isNull && $0.node?["constisnull"].word != "true" && !isZero($0)
        }
        if let limit = limits.first, query.number("limitOption") != 1,
            !isFull(query["sortClause"], query["targetList"], queries)
        {
            report(
                place(of: limit),
                query["sortClause"].elements.isEmpty
                    ? "LIMIT without ORDER BY takes any rows"
                    : "LIMIT takes any of the rows that ORDER BY leaves equal",
                Self.useFullOrder)
        }
        if query["hasDistinctOn"].word == "true", !isFull(query["sortClause"], query["targetList"], queries) {
            report(
                place(of: query["targetList"]), "DISTINCT ON takes any of the rows that its ORDER BY leaves equal",
                Self.useFullOrder)
        }
        noteDefaults(query)
    }

    /// Whether it is the integer 0. `OFFSET 0` skips nothing: it keeps the planner from merging a
    /// subquery into the query around it.
    private func isZero(_ limit: NodeTree) -> Bool {
        guard let node = limit.node else { return false }
        let cast = node.tag == "FUNCEXPR" && node["args"].elements.count == 1 ? node["args"].elements[0].node : nil
        let constant = cast ?? node
        let (bigint, integer) = (20, 23)
        guard constant.tag == "CONST", [bigint, integer].contains(constant.number("consttype")) else { return false }
        return byte(constant).map(text.token) == "0"
    }

    static let useFullOrder = "Order by position last, so that no two rows are equal."

    /// Notes which columns a statement writes without giving them a value.
    private mutating func noteDefaults(_ query: Node) {
        guard let place = query.number("resultRelation"), place > 0,
            query["rtable"].elements.indices.contains(place - 1),
            let table = query["rtable"].elements[place - 1].node?.number("relid"),
            let columns = catalog.tables[table]?.columns
        else { return }
        /// By column number, whether the column gets a value (true) or explicitly its default
        /// (false).
        func given(_ list: NodeTree) -> [Int: Bool] {
            var given: [Int: Bool] = [:]
            for case .node(let entry) in list.elements where entry["resjunk"].word != "true" {
                if let number = entry.number("resno") { given[number] = entry["expr"].node?.tag != "SETTODEFAULT" }
            }
            return given
        }
        func note(_ list: NodeTree, isInsert: Bool) {
            let given = given(list)
            for number in columns.keys where given[number] == false || isInsert && given[number] == nil {
                defaulted[table, default: []].insert(number)
            }
        }
        let (update, insert, merge) = (2, 3, 5)
        switch query.number("commandType") {
        case insert:
            note(query["targetList"], isInsert: true)
            if let conflict = query["onConflict"].node { note(conflict["onConflictSet"], isInsert: false) }
            // Single rows of VALUES may say DEFAULT.
            if Self.holdsDefault(query["rtable"]) { defaulted[table, default: []].formUnion(columns.keys) }
        case update: note(query["targetList"], isInsert: false)
        case merge:
            for case .node(let action) in query["mergeActionList"].elements {
                if action.number("commandType") == insert { note(action["targetList"], isInsert: true) }
                if action.number("commandType") == update { note(action["targetList"], isInsert: false) }
            }
        default: break
        }
    }

    private static func holdsDefault(_ tree: NodeTree) -> Bool {
        switch tree {
        case .word, .null: false
        case .list(let elements): elements.contains(where: holdsDefault)
        case .node(let node): node.tag == "SETTODEFAULT" || node.fields.values.contains(where: holdsDefault)
        }
    }

    // MARK: Expressions

    private mutating func checkExpression(_ node: Node, _ queries: [Node]) {
        switch node.tag {
        case "FUNCEXPR":
            checkRoutine(node.number("funcid"), node)
            checkArguments(node)
        case "OPEXPR", "DISTINCTEXPR", "NULLIFEXPR", "SCALARARRAYOPEXPR": checkRoutine(node.number("opfuncid"), node)
        case "AGGREF":
            checkRoutine(node.number("aggfnoid"), node)
            checkAggregate(node.number("aggfnoid"), node, queries)
        case "WINDOWFUNC":
            checkRoutine(node.number("winfnoid"), node)
            checkWindow(node, queries)
        case "COERCEVIAIO": checkTextCast(node)
        case "SQLVALUEFUNCTION":
            let isClock = (node.number("op") ?? 0) <= 8
            let shown = shown(node) ?? "CURRENT_TIMESTAMP"
            diagnostics.append(
                isClock
                    ? .ofClock(shown, at: place(of: .node(node)))
                    : ProjectionDiagnostic(
                        place: place(of: .node(node)), what: "\(shown) depends on who runs it",
                        instead: "Who acted stands in the event: metadata ->> 'actor'."))
        case "NEXTVALUEEXPR": diagnostics.append(.ofSequence("the column's default", at: place(of: .node(node))))
        case "RANGETBLFUNCTION":
            let times = node["funccoltypes"].numbers.filter { catalog.types[$0]?.category == "D" }
            if !times.isEmpty, routine(of: node["funcexpr"])?.name.hasPrefix("json") == true {
                report(place(of: node["funcexpr"]), "a text that is read as a time may say 'now'", Self.useFormat)
            }
        case "CONST": checkLiteral(node)
        case "VAR":
            if let number = node.number("varattno"), number < 0 {
                report(
                    place(of: .node(node)), "\(shown(node) ?? "a system column") is where and when a row was stored",
                    "Use columns of the events: position, event_id.")
            }
        default: break
        }
    }

    private mutating func checkRoutine(_ number: Int?, _ node: Node) {
        guard let number, let routine = catalog.routines[number] else { return }
        let place = place(of: .node(node)) ?? text.firstPlace(of: routine.name).map(text.place)
        let word = shown(node) ?? routine.name
        // A cast or an operator is shown with the function behind it.
        let shown =
            word.lowercased() == routine.name ? "\(word)()" : word == routine.name ? word : "\(word) (\(routine.name))"
        if let diagnostic = ProjectionDiagnostic.ofRoutine(routine, shown: shown, at: place ?? text.file) {
            diagnostics.append(diagnostic)
        }
    }

    /// Reports calls of deterministic routines whose arguments make the result depend on settings.
    private mutating func checkArguments(_ node: Node) {
        guard let routine = routine(of: .node(node)), routine.isBuiltIn else { return }
        let zoned = 1184
        if routine.name == "to_char", node["args"].elements.first.flatMap({ type(of: $0) }) == zoned {
            report(
                place(of: .node(node)), "to_char() of a time with a zone depends on the session's time zone",
                ProjectionDiagnostic.useUTC)
        }
        let row = catalog.tables.values.first { $0.rowType == node.number("funcresulttype") && $0.rowType != 0 }
        if routine.name.contains("populate_record"), let row,
            row.columns.values.contains(where: { catalog.types[$0.type]?.category == "D" })
        {
            report(place(of: .node(node)), "a text that is read as a time may say 'now'", Self.useFormat)
        }
    }

    private static let useFormat =
        "Give the format: to_timestamp(text, 'YYYY-MM-DD\"T\"HH24:MI:SS') or jsonb's .datetime()."

    /// Reports casts by way of text that depend on settings or on the clock.
    private mutating func checkTextCast(_ node: Node) {
        guard let target = node.number("resulttype"), let source = type(of: node["arg"]) else { return }
        if let type = catalog.types[target], type.hasTextOfSettings {
            report(
                place(of: .node(node)),
                "a text that is read as \(type.name) depends on the session's settings, or may say 'now'",
                Self.useFormat)
        } else if let type = catalog.types[source], type.hasTextOfSettings {
            report(
                place(of: .node(node)), "the text of a \(type.name) depends on the session's settings",
                "Give the format: to_char(happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS').")
        }
    }

    /// Reports `'now'` and similar words, which Postgres evaluates when it parses the statement.
    private mutating func checkLiteral(_ node: Node) {
        guard let type = node.number("consttype"), catalog.types[type]?.category == "D", let byte = byte(node) else {
            return
        }
        let literal = text.token(at: byte).lowercased()
        for word in ["now", "today", "tomorrow", "yesterday"] where literal.hasPrefix("'") && literal.contains(word) {
            diagnostics.append(.ofClock(literal, at: text.place(at: byte)))
        }
    }

    // MARK: Places

    private func routine(of tree: NodeTree) -> SQLCatalog.Routine? {
        tree.node?.number("funcid").flatMap { catalog.routines[$0] }
    }

    func type(of tree: NodeTree) -> Int? {
        guard let node = tree.node else { return nil }
        let names = [
            "vartype", "consttype", "funcresulttype", "opresulttype", "aggtype", "wintype", "resulttype", "casetype",
            "coalescetype", "minmaxtype", "refrestype", "array_typeid",
        ]
        return names.lazy.compactMap { node.number($0) }.first
            ?? (node.tag == "SQLVALUEFUNCTION" ? node.number("type") : nil)
    }

    private func byte(_ node: Node) -> Int? {
        guard fixedPlace == nil, let location = node.number("location"), location >= before else { return nil }
        return location - before
    }

    private func shown(_ node: Node) -> String? {
        byte(node).map(text.token).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The place of the first part of a tree that has a location.
    func place(of tree: NodeTree) -> String? {
        if let fixedPlace { return fixedPlace }
        return firstByte(tree).map(text.place)
    }

    func place(of tree: NodeTree) -> String { place(of: tree) ?? text.file }

    private func firstByte(_ tree: NodeTree) -> Int? {
        switch tree {
        case .word, .null: nil
        case .list(let elements): elements.lazy.compactMap(firstByte).first
        case .node(let node): byte(node) ?? node.fields.values.compactMap(firstByte).min()
        }
    }

    mutating func report(_ place: String, _ what: String, _ instead: String) {
        diagnostics.append(ProjectionDiagnostic(place: place, what: what, instead: instead))
    }
}
