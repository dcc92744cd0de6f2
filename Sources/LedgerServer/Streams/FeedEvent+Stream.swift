import Feed
import LedgerCore

extension FeedEvent {
    private static let data = Array(#","datacontenttype":"application/json","data":"#.utf8)

    /// The CloudEvent as it is streamed.
    var streamed: [UInt8] {
        // Nearly all events are small enough as a whole. The first match is the data's member,
        // because within a string a quotation mark is escaped.
        guard json.count > Relay.largestData, let place = json.firstRange(of: Self.data),
            json.count - 1 - place.upperBound > Relay.largestData
        else { return json }
        let reference = "\(AuthorizedRequest.eventsPath(category, job))?after=\(version - 1)&limit=1"
        return json[..<place.lowerBound] + Array(",\"dataref\":\"\(reference)\"}".utf8)
    }
}
