/// A reason why a projection's rows could depend on something other than the events.
package struct ProjectionDiagnostic: Sendable, Equatable {
    /// A file of the definition, with the line if it is known.
    package let place: String
    package let what: String
    /// What to do about it.
    package let instead: String
}

extension ProjectionDiagnostic {
    private static let clock: Set = [
        "now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday", "age", "current_date",
        "current_time", "current_timestamp", "localtime", "localtimestamp",
    ]
    private static let chance: Set = [
        "random", "random_normal", "setseed", "gen_random_uuid", "gen_random_bytes", "uuid_generate_v4", "uuidv4",
        "uuidv7",
    ]
    private static let counters: Set = ["nextval", "currval", "lastval", "setval"]
    /// Postgres calls these stable because of arguments that they might get. The ledger's sessions
    /// fix every setting on which their results depend.
    private static let settled: Set = [
        "to_json", "to_jsonb", "row_to_json", "array_to_json", "json_build_object", "json_build_array",
        "jsonb_build_object", "jsonb_build_array", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg",
        "json_agg_strict", "jsonb_agg_strict", "json_object_agg_strict", "json_object_agg_unique",
        "json_object_agg_unique_strict", "jsonb_object_agg_strict", "jsonb_object_agg_unique",
        "jsonb_object_agg_unique_strict", "concat", "concat_ws", "format", "anytextcat", "textanycat",
        "array_to_string", "string_agg", "quote_literal", "quote_nullable", "to_char", "to_date", "to_timestamp",
        "to_number", "json_populate_record", "json_populate_recordset", "jsonb_populate_record",
        "jsonb_populate_recordset", "json_to_record", "json_to_recordset", "jsonb_to_record", "jsonb_to_recordset",
    ]

    static let useTheEvent = "Take the time from the event: happened_at, occurred_at or recorded_at."
    static let useUTC = "Write happened_at AT TIME ZONE 'UTC' first: the result does not depend on settings."

    /// - Parameter shown: the routine as the text names it.
    /// - Returns: `nil` for a routine whose result depends on its arguments alone.
    static func ofRoutine(_ routine: SQLCatalog.Routine, shown: String, at place: String) -> ProjectionDiagnostic? {
        let name = routine.name
        func told(_ what: String, _ instead: String) -> ProjectionDiagnostic {
            ProjectionDiagnostic(place: place, what: "\(shown) \(what)", instead: instead)
        }
        if routine.isBuiltIn ? clock.contains(name) && routine.volatility != "i" : false {
            return ofClock(shown, at: place)
        }
        if chance.contains(name) {
            return told(
                "is another value each time",
                "Take it from the event: event_id is unique, and md5(event_id::text) is as good as random.")
        }
        if counters.contains(name) { return ofSequence(shown, at: place) }
        if !routine.isBuiltIn, routine.isOpaque {
            return told(
                "is a function written in SQL or another language: the check cannot see what it does",
                "Write its expression into apply.sql.")
        }
        if routine.volatility == "i" || routine.isBuiltIn && settled.contains(name) { return nil }
        if routine.volatility == "v" {
            return told("is volatile: its result may be another each time", "Leave it out.")
        }
        return told(
            "depends on settings of the session, such as its time zone, or on the state of the database", useUTC)
    }

    static func ofClock(_ shown: String, at place: String) -> ProjectionDiagnostic {
        ProjectionDiagnostic(
            place: place, what: "\(shown) is the clock: a rebuild would give another value", instead: useTheEvent)
    }

    static func ofSequence(_ shown: String, at place: String) -> ProjectionDiagnostic {
        ProjectionDiagnostic(
            place: place, what: "\(shown) draws from a sequence: its numbers do not come back in a rebuild",
            instead: "Count in the order of positions, as projections/batch_job_runs does, or use position.")
    }
}
