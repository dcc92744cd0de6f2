import Hummingbird
import Logging
import NIOCore

/// The context of one request.
struct LedgerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The connection that the request arrived on.
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}
