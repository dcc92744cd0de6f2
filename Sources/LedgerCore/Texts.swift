/// Whoever has to do with events has to do with what jobs are called: the one comes with the other.
@_exported public import Texts

/// What a job is called: one job is one sequence of bytes.
public typealias JobID = ExactText
