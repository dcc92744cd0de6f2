import CLibpq

extension CopyDirection {
    var status: ExecStatusType { self == .into ? PGRES_COPY_IN : PGRES_COPY_OUT }
}

extension LibpqResult {
    /// Whether this result starts a COPY, instead of answering a statement.
    var isCopy: Bool { status == PGRES_COPY_IN || status == PGRES_COPY_OUT }
}

/// C's enumeration, matched by name.
extension ExecStatusType {
    static var singleTuple: ExecStatusType { PGRES_SINGLE_TUPLE }
    static var fatalError: ExecStatusType { PGRES_FATAL_ERROR }
    static var pipelineSync: ExecStatusType { PGRES_PIPELINE_SYNC }
    static var pipelineAborted: ExecStatusType { PGRES_PIPELINE_ABORTED }
}
