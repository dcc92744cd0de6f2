/// The statuses with which a failed command ends. Scripts rely on the numbers.
package enum ExitStatus: Int32, Sendable {
    /// The ledger refused the request, a comparison found a difference, or the command failed for
    /// any other reason.
    case refused = 1
    /// The command line or a setting is wrong. Nothing was done.
    case usage = 2
    /// A server cannot be reached or does not answer. The same command may succeed later.
    case cannotConnect = 3
}

/// An error whose type says with which status the command line ends.
///
/// All other errors end it with ``ExitStatus/refused``. So an error needs to conform only if the
/// user has to correct the command line or a setting, or if a server could not be reached.
package protocol ExitStatusProviding: Error {
    var exitStatus: ExitStatus { get }
}
