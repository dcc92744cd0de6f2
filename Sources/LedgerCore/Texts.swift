/// Every user of events also uses job ids, so this module exports `Texts`.
@_exported public import Texts

/// A job's id. Two ids are equal only if their bytes are.
public typealias JobID = ExactText
