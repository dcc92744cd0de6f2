/// A fold in two parts. `prepare.sql` is a query that reads events and nothing else. `apply.sql` is
/// one statement that finds the rows of the query under the name `prepared`.
///
/// Usually both run as one statement (``wholeSQL``). In a long backlog the query of a window may
/// run while the window before is still being applied: ``PipelinedFold``.
struct Preparation: Sendable, Equatable {
    typealias FormatError = ProjectionDefinition.FormatError

    static let table = "prepared"

    /// The text of `prepare.sql`.
    let query: String
    /// The text of `apply.sql`, which begins with `WITH`.
    let apply: String
    /// Where the query belongs in `apply`: behind its `WITH`.
    private let place: String.Index

    init(query: String, apply: String, tables: [String], of folder: String) throws(FormatError) {
        let (queryText, applyText) = (SQLText("prepare.sql", query), SQLText("apply.sql", apply))
        func refuse(_ place: String, _ what: String) -> FormatError {
            FormatError(description: "projection \(folder): \(place): \(what)")
        }
        guard ["select", "with"].contains(queryText.firstWord?.word) else {
            throw refuse("prepare.sql", "this file must be one query: begin it with SELECT or WITH")
        }
        if let byte = queryText.firstPlace(of: ";") {
            throw refuse(
                queryText.place(at: byte), "this file must be one query, without a semicolon: leave out what follows")
        }
        guard let with = applyText.firstWord, with.word == "with", applyText.secondWord != "recursive" else {
            throw refuse(
                "apply.sql",
                """
                beside a prepare.sql this file must be one statement that begins with WITH: the rows of prepare.sql \
                are a part of it, named \(Self.table)
                """)
        }
        guard !tables.contains(Self.table) else {
            throw refuse(
                "projection.json",
                "beside a prepare.sql no table can be named \(Self.table), which is the name of its rows: rename it")
        }
        self.query = query
        self.apply = apply
        place = apply.utf8.index(apply.startIndex, offsetBy: with.end)
    }

    /// Both parts as one statement, by the files that its pieces come from.
    var pieces: [SQLText.Piece] {
        [
            SQLText.Piece("apply.sql", apply[..<place]),
            SQLText.Piece("apply.sql", " \(Self.table) AS ("),
            SQLText.Piece("prepare.sql", query[...]),
            // On a line of its own, since the query may end in a comment.
            SQLText.Piece("apply.sql", "\n), "),
            SQLText.Piece("apply.sql", apply[place...], line: apply[..<place].utf8.count { $0 == 0x0A }),
        ]
    }

    var wholeSQL: String { pieces.map { String($0.text) }.joined() }
}
