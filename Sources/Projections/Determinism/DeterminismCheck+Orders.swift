/// Finds results that depend on the order of rows where the statement does not fix that order.
extension DeterminismCheck {
    private static let ordered: Set = [
        "array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "xmlagg",
        "json_agg_strict", "jsonb_agg_strict", "json_object_agg_strict", "jsonb_object_agg_strict",
        "json_object_agg_unique", "jsonb_object_agg_unique",
    ]
    private static let firstCome: Set = [
        "row_number", "ntile", "lag", "lead", "first_value", "last_value", "nth_value",
    ]

    mutating func checkAggregate(_ number: Int?, _ node: Node, _ queries: [Node]) {
        guard let number, let routine = catalog.routines[number] else { return }
        if checkFloats(routine, node, node["aggargtypes"].numbers) { return }
        guard Self.ordered.contains(routine.name) || !routine.isBuiltIn, node["aggdistinct"].elements.isEmpty else {
            return
        }
        let arguments = node["args"]
        let order = references(node["aggorder"])
        // Rows that are equal in everything collected may swap places without any effect.
        let collected = arguments.elements.compactMap(\.node).filter {
            $0["resjunk"].word != "true" && $0["expr"].node?.tag != "CONST"
        }
        let isByItself = !order.isEmpty && collected.allSatisfy { order.contains($0.number("ressortgroupref") ?? 0) }
        if !isByItself, !isFull(node["aggorder"], arguments, queries, inAggregate: true) {
            let how =
                order.isEmpty
                ? "without ORDER BY collects values in any order"
                : "collects what its ORDER BY leaves equal in any order"
            report(
                place(of: .node(node)), "\(routine.name)() \(how)", "Write \(routine.name)(… ORDER BY position).")
        }
    }

    /// - Returns: whether it reported the call.
    private mutating func checkFloats(_ routine: SQLCatalog.Routine, _ node: Node, _ types: [Int]) -> Bool {
        guard routine.isBuiltIn, !["min", "max", "count", "array_agg"].contains(routine.name),
            !Self.ordered.contains(routine.name),
            types.contains(where: { catalog.types[$0]?.isFloat == true })
        else { return false }
        report(
            place(of: .node(node)), "\(routine.name)() of floats depends on the order in which they are added",
            "Cast to numeric first.")
        return true
    }

    mutating func checkWindow(_ node: Node, _ queries: [Node]) {
        guard let number = node.number("winfnoid"), let routine = catalog.routines[number], let query = queries.first,
            let window = query["windowClause"].elements.compactMap(\.node).first(where: {
                $0.number("winref") == node.number("winref")
            })
        else { return }
        if checkFloats(routine, node, node["args"].elements.compactMap { type(of: $0) }) { return }
        let rows = 0x4
        let countsRows = (window.number("frameOptions") ?? 0) & rows != 0
        guard
            Self.firstCome.contains(routine.name) || Self.ordered.contains(routine.name) || countsRows
                || !routine.isBuiltIn
        else { return }
        let order = NodeTree.list(window["partitionClause"].elements + window["orderClause"].elements)
        if !isFull(order, query["targetList"], queries) {
            report(
                place(of: .node(node)), "\(routine.name)() takes rows that its window leaves equal in any order",
                "Write OVER (… ORDER BY position).")
        }
    }

    private func references(_ clauses: NodeTree) -> Set<Int> {
        Set(clauses.elements.compactMap { $0.node?.number("tleSortGroupRef") })
    }

    /// Whether no two rows can be equal in this order. That holds if it contains the position or
    /// another unique key of an event, all columns of a table's key, or all columns that the rows
    /// are grouped by.
    func isFull(_ clauses: NodeTree, _ targets: NodeTree, _ queries: [Node], inAggregate: Bool = false) -> Bool {
        let order = references(clauses)
        if order.isEmpty { return false }
        if !inAggregate, let query = queries.first {
            let groups = references(query["groupClause"])
            if !groups.isEmpty, groups.isSubset(of: order) { return true }
        }
        var columns: [Int: Set<Int>] = [:]
        for case .node(let entry) in targets.elements where order.contains(entry.number("ressortgroupref") ?? 0) {
            if let origin = origin(of: entry["expr"], queries, depth: 0) {
                columns[origin.table, default: []].insert(origin.column)
            }
        }
        return columns.contains { table, columns in
            let names = Set(columns.compactMap { catalog.tables[table]?.columns[$0]?.name })
            return table == catalog.events
                ? names.contains("position") || names.contains("event_id")
                    || names.isSuperset(of: ["stream_id", "version"])
                : catalog.tables[table]?.keys.contains(where: columns.isSuperset) ?? false
        }
    }

    /// The table column that an expression passes on unchanged: through subqueries, joins, casts
    /// and `min` or `max` of a group.
    private func origin(of tree: NodeTree, _ queries: [Node], depth: Int) -> (table: Int, column: Int)? {
        guard let node = tree.node, depth < 32 else { return nil }
        switch node.tag {
        case "RELABELTYPE", "COERCETODOMAIN": return origin(of: node["arg"], queries, depth: depth + 1)
        case "AGGREF":
            guard let number = node.number("aggfnoid"), ["min", "max"].contains(catalog.routines[number]?.name) else {
                return nil
            }
            return origin(of: node["args"].elements.first?.node?["expr"] ?? .null, queries, depth: depth + 1)
        case "VAR":
            guard let level = node.number("varlevelsup"), queries.indices.contains(level),
                let number = node.number("varattno"),
                number > 0,
                let place = node.number("varno")
            else { return nil }
            let queries = Array(queries[level...])
            let entries = queries[0]["rtable"].elements
            guard entries.indices.contains(place - 1), let entry = entries[place - 1].node else { return nil }
            return origin(ofColumn: number, of: entry, queries, depth: depth + 1)
        default: return nil
        }
    }

    private func origin(ofColumn number: Int, of entry: Node, _ queries: [Node], depth: Int) -> (
        table: Int, column: Int
    )? {
        func column(of query: Node, within queries: [Node]) -> (table: Int, column: Int)? {
            // The rows of a UNION may come from several tables, so nothing is known of their
            // columns.
            guard query["setOperations"].isNull else { return nil }
            let list = query.number("commandType") == 1 ? query["targetList"] : query["returningList"]
            let target = list.elements.compactMap(\.node).first { $0.number("resno") == number }
            return origin(of: target?["expr"] ?? .null, [query] + queries, depth: depth)
        }
        let (relation, subquery, join, commonTable) = (0, 1, 2, 6)
        switch entry.number("rtekind") {
        case relation: return entry.number("relid").map { ($0, number) }
        case subquery: return entry["subquery"].node.flatMap { column(of: $0, within: queries) }
        case join:
            let columns = entry["joinaliasvars"].elements
            return columns.indices.contains(number - 1) ? origin(of: columns[number - 1], queries, depth: depth) : nil
        case commonTable:
            guard let level = entry.number("ctelevelsup"), queries.indices.contains(level) else { return nil }
            let home = Array(queries[level...])
            let table = home[0]["cteList"].elements.compactMap(\.node).first {
                $0["ctename"].word == entry["ctename"].word
            }
            return table?["ctequery"].node.flatMap { column(of: $0, within: home) }
        default: return nil
        }
    }
}
