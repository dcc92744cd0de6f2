import Categories
import LedgerCore

/// The AsyncAPI document of a ledger: the one that ships, and the channels and messages of each of
/// its categories.
enum AsyncAPIDocument {
    /// - Parameters:
    ///   - base: the document that ships.
    ///   - ledger: the ledger's name, with which its channels in Redis begin.
    ///   - categories: those that are described.
    static func whole(_ base: JSONTree, ledger: LedgerName, categories: [DocumentedCategory]) -> JSONTree {
        var document = base
        var (channels, operations) = (document[within: "channels"], document[within: "operations"])
        var messages = document[within: "components"][within: "messages"]
        var schemas = document[within: "components"][within: "schemas"]
        for category in categories {
            for (name, schema) in category.data { schemas[name] = schema }
            for type in category.types {
                let name: ExactText = "\(category.name).\(type)"
                schemas["\(name).Event"] = category.narrowed(
                    "event", to: type, typeName: category.cloudEventType(type), isSent: false)
                messages[name] = message(type, of: category, named: name)
            }
            for channel in Channel.all(category, ledger: ledger) {
                channels[channel.name] = channel.description
                operations[channel.operation] = [
                    "action": "send", "channel": ["$ref": "#/channels/\(channel.name)"], "summary": channel.summary,
                ]
            }
        }
        document["channels"] = channels
        document["operations"] = operations
        document[within: "components"]["messages"] = messages
        document[within: "components"]["schemas"] = schemas
        return document
    }

    private static func message(_ type: ExactText, of category: DocumentedCategory, named name: ExactText) -> JSONTree {
        [
            "name": .string(ExactText(category.cloudEventType(type))),
            "title": "An event \(type) of the category \(category.name)",
            "contentType": "application/cloudevents+json",
            "payload": DocumentedCategory.reference("\(name).Event"),
        ]
    }

    /// A way in which the events of a category's streams arrive.
    private struct Channel {
        let name: ExactText
        let description: JSONTree
        let operation: ExactText
        let summary: JSONTree

        static func all(_ category: DocumentedCategory, ledger: LedgerName) -> [Channel] {
            let events = category.types.map {
                JSONTree.Member(name: $0, value: ["$ref": "#/components/messages/\(category.name).\($0)"])
            }
            func channel(_ address: JSONTree, on server: JSONTree, _ title: JSONTree, _ description: String) -> JSONTree
            {
                [
                    "address": address, "parameters": ["id": ["description": "The stream's id."]],
                    "servers": [["$ref": server]], "title": title, "description": .string(ExactText(description)),
                    "messages": .object(events),
                ]
            }
            let (name, title) = (category.name, "One stream of the category \(category.name)" as JSONTree)
            return [
                Channel(
                    name: "eventsOfStream_\(name)",
                    description: channel(
                        "/v1/streams/\(name)/{id}/events", on: "#/servers/http", title,
                        "As a stream of any category. \(category.life)"),
                    operation: "followStream_\(name)",
                    summary: "The service sends the events of a stream of the category \(name)."),
                Channel(
                    name: "stream_\(name)",
                    description: channel(
                        "\(ledger):\(name):{id}", on: "#/servers/redis", title,
                        "Pattern \(ledger):\(name):* for all. \(category.life)"),
                    operation: "publish_\(name)",
                    summary: "The relay publishes each event of the category \(name)."),
            ]
        }
    }
}
