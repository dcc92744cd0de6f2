/// Where the files of the dashboard come from.
package enum DashboardSource: Sendable, Equatable {
    /// The files that were put into the program when it was built.
    case embedded
    /// A folder that is read at each request, for those who work on the page.
    case folder(String)
    /// The service has no page, and no browser can sign in.
    case off
}
