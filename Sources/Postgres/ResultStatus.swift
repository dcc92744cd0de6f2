import CLibpq

/// C's enumeration, matched by name.
extension ExecStatusType {
    static var copyIn: ExecStatusType { PGRES_COPY_IN }
    static var copyOut: ExecStatusType { PGRES_COPY_OUT }
    static var singleTuple: ExecStatusType { PGRES_SINGLE_TUPLE }
    static var pipelineSync: ExecStatusType { PGRES_PIPELINE_SYNC }
    static var pipelineAborted: ExecStatusType { PGRES_PIPELINE_ABORTED }
}
