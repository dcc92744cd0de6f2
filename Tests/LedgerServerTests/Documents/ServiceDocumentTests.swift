import Categories
import Foundation
import LedgerCore
import Testing

@testable import LedgerServer

/// What the documents have of a ledger's categories.
@Suite struct ServiceDocumentTests {
    private static let parcel = """
        {"name": "parcel",
         "life": {"": ["sent"], "sent": ["seen", "lost"], "seen": ["seen"], "lost": []},
         "data": {
           "sent": {
             "type": "object",
             "required": ["code", "by"],
             "properties": {
               "code": {"type": "string", "pattern": "^[A-Z].$", "description": "On its label."},
               "by": {"type": "string"},
               "from": {"type": "string", "format": "date"},
               "to": {"type": "string", "format": "date"},
               "marks": {"type": "array", "items": {"type": "string", "pattern": "[[:alpha:]]`"}}
             },
             "additionalProperties": false
           },
           "seen": {"type": "object", "properties": {"place": {"type": "string"}}}
         },
         "unique": [{"key": "code", "ignoring_case": true}],
         "references": [{"key": "by", "category": "user"}],
         "not_before": [{"key": "to", "other": "from"}],
         "personal": ["by", "place"]}
        """

    private static func installed() throws -> [ServiceDocument.Installed] {
        try CategoryDefinition.all().map { .init(name: $0.name.text, definition: $0.canonical) }
            + [.init(name: "parcel", definition: parcel)]
    }

    private static func json(_ text: String) throws -> JSON {
        JSON(try JSONSerialization.jsonObject(with: Data(text.utf8)))
    }

    private static func made(_ document: ServiceDocument) throws -> JSON {
        try json(try document.whole(try installed(), ledger: LedgerName("shop")!))
    }

    /// The addresses of all `$ref`, and of all that a discriminator maps to.
    private static func references(in json: JSON) -> [String] {
        json.members.flatMap { name, value in
            (name == "$ref" ? [value.text ?? ""] : [])
                + (name == "mapping" ? value.members.values.compactMap(\.text) : [])
                + references(in: value)
        } + json.elements.flatMap(references)
    }

    @Test(arguments: ServiceDocument.allCases) func everyReferenceLeadsSomewhere(_ document: ServiceDocument) throws {
        let made = try Self.made(document)
        let references = Set(Self.references(in: made))
        #expect(references.count > 20)
        for reference in references {
            let place = reference.split(separator: "/").dropFirst().reduce(made) { value, name in
                value[String(name).replacing("~1", with: "/").replacing("~0", with: "~")]
            }
            #expect(reference.hasPrefix("#/") && !place.isNull, "\(reference)")
        }
    }

    @Test(arguments: ServiceDocument.allCases) func namesAreLegal(_ document: ServiceDocument) throws {
        let components = try Self.made(document)["components"]
        for name in components.members.values.flatMap(\.members.keys) {
            #expect(name.wholeMatch(of: /[a-zA-Z0-9._-]+/) != nil, "\(name)")
        }
    }

    @Test(arguments: ServiceDocument.allCases) func keepsWhatShips(_ document: ServiceDocument) throws {
        let shipped = try JSONTree(reading: try document.shipped(), file: document.rawValue)
        // Written and read again it is the same, and without categories nothing is added.
        #expect(try JSONTree(reading: shipped.text, file: "again") == shipped)
        var bare = try JSONTree(
            reading: try document.whole([], ledger: LedgerName("shop")!), file: document.rawValue)
        if document == .openapi {
            let names = bare[within: "components"][within: "parameters"][within: "category"]["schema"]
            #expect(names == ["type": "string", "enum": ["job"]])
            bare[within: "components"][within: "parameters"]["category"] =
                shipped["components"]?["parameters"]?["category"]
        }
        #expect(bare == shipped)
    }

    @Test(arguments: ServiceDocument.allCases) func isTheSameEachTime(_ document: ServiceDocument) throws {
        let (one, other) = (try Self.installed(), try Self.installed())
        let ledger = LedgerName("shop")!
        #expect(try document.whole(one, ledger: ledger) == document.whole(other, ledger: ledger))
    }

    @Test func openAPIHasAPathForEachCategory() throws {
        let document = try Self.made(.openapi)
        let names = ["backtest", "job", "strategy", "user", "parcel"]
        var operations: [String] = []
        for item in document["paths"].members.values {
            operations += item.members.values.compactMap { $0["operationId"].text }
        }
        #expect(Set(operations).count == operations.count)
        let listed = document["components"]["parameters"]["category"]["schema"]["enum"].elements.map(\.text)
        #expect(listed == names.sorted())
        for name in names {
            let path = document["paths"]["/v1/streams/\(name)/{id}/events"]
            let content = path["post"]["requestBody"]["content"]
            #expect(
                content["application/json"]["schema"]["oneOf"][0]["$ref"].text
                    == "#/components/schemas/\(name).NewEvent")
            #expect(
                content["application/cloudevents+json"]["schema"]["$ref"].text
                    == "#/components/schemas/\(name).NewCloudEvent")
            let page = path["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            #expect(page["properties"]["events"]["items"]["$ref"].text == "#/components/schemas/\(name).Event")
            let parameters = path["get"]["parameters"].elements.compactMap { $0["$ref"].text }
            #expect(parameters.contains("#/components/parameters/\(name).type"), "\(parameters)")
            #expect(path["post"]["responses"]["409"]["$ref"].text == "#/components/responses/Conflict")
        }
        let types = document["components"]["parameters"]["parcel.type"]["schema"]["items"]["enum"].elements
        #expect(types.map(\.text) == ["sent", "seen", "lost"])
        let life = document["paths"]["/v1/streams/parcel/{id}/events"]["post"]["description"].text
        #expect(
            life == "A stream begins with `sent`. After `sent` comes `seen` or `lost`. After `seen` comes `seen`. "
                + "Nothing comes after `lost`.")
    }

    @Test func eachTypeHasItsEvents() throws {
        let schemas = try Self.made(.openapi)["components"]["schemas"]
        let types = schemas["parcel.NewEvent"]["oneOf"].elements.map { $0["$ref"].text ?? "" }
        #expect(types == ["sent", "seen", "lost"].map { "#/components/schemas/parcel.\($0).NewEvent" })
        let sent = schemas["parcel.sent.NewEvent"]
        #expect(sent["properties"]["type"]["const"].text == "sent")
        #expect(sent["properties"]["data"]["$ref"].text == "#/components/schemas/parcel.sent.Data")
        #expect(sent["allOf"][0]["$ref"].text == "#/components/schemas/NewStreamEvent")
        // Its data have members that must be there, so they cannot be left out; others can.
        #expect(sent["required"].elements.map(\.text) == ["type", "data"])
        for type in ["seen", "lost"] {
            #expect(schemas["parcel.\(type).NewEvent"]["required"].elements.map(\.text) == ["type"])
        }
        #expect(schemas["user.registered.NewEvent"]["required"].elements.count == 2)
        let type = schemas["parcel.seen.Event"]["properties"]["type"]["const"].text
        #expect(type == "io.jobledger.parcel.seen")
        // Large data are left out of what is read.
        #expect(schemas["parcel.sent.Event"]["required"].elements.map(\.text) == ["type"])
    }

    @Test func dataHaveWhatTheCategoryDeclares() throws {
        let schemas = try Self.made(.openapi)["components"]["schemas"]
        let sent = schemas["parcel.sent.Data"]["properties"]
        #expect(sent["code"]["pattern"].text == #"^[A-Z][\s\S]$"#)
        #expect(
            sent["code"]["description"].text
                == "On its label. No two streams of the category have the same value, whatever the case of its ASCII "
                + "letters.")
        #expect(sent["by"]["description"].text == "The id of a stream of the category `user`, which must exist.")
        #expect(sent["by"]["x-personal"].bool == true && sent["code"]["x-personal"].isNull)
        #expect(sent["to"]["description"].text == "Not before `from`." && sent["from"]["description"].isNull)
        let mark = sent["marks"]["items"]
        #expect(mark["pattern"].isNull)
        #expect(
            mark["description"].text == "It matches this regular expression of Postgres: `` [[:alpha:]]` ``")
        // Members that the schema does not name are described with the whole, unless it is closed.
        let seen = schemas["parcel.seen.Data"]
        #expect(seen["properties"]["place"]["x-personal"].bool == true)
        #expect(seen["description"].text?.contains("`by`: The id of a stream") == true)
        #expect(seen["description"].text?.hasSuffix("Personal data. `to`: Not before `from`.") == true)
        #expect(schemas["parcel.sent.Data"]["description"].isNull)
        #expect(schemas["parcel.lost.Data"]["type"].text == "object")
    }

    @Test func asyncAPIHasChannelsAndMessages() throws {
        let document = try Self.made(.asyncapi)
        let (stream, redis) = (
            document["channels"]["eventsOfStream_parcel"], document["channels"]["stream_parcel"]
        )
        #expect(stream["address"].text == "/v1/streams/parcel/{id}/events")
        #expect(redis["address"].text == "shop:parcel:{id}")
        for channel in [stream, redis] {
            let messages = channel["messages"].members.mapValues { $0["$ref"].text }
            #expect(
                messages == [
                    "sent": "#/components/messages/parcel.sent", "seen": "#/components/messages/parcel.seen",
                    "lost": "#/components/messages/parcel.lost",
                ])
        }
        #expect(document["operations"]["publish_parcel"]["channel"]["$ref"].text == "#/channels/stream_parcel")
        let message = document["components"]["messages"]["parcel.sent"]
        #expect(message["name"].text == "io.jobledger.parcel.sent")
        #expect(message["payload"]["$ref"].text == "#/components/schemas/parcel.sent.Event")
        let payload = document["components"]["schemas"]["parcel.sent.Event"]
        #expect(payload["properties"]["data"]["$ref"].text == "#/components/schemas/parcel.sent.Data")
    }

    /// A ledger may have a category that a newer program has installed.
    @Test(arguments: ServiceDocument.allCases) func whatCannotBeReadIsNamed(_ document: ServiceDocument) throws {
        let newer = ServiceDocument.Installed(name: "newer", definition: #"{"name": "newer", "death": {}}"#)
        let made = try Self.json(
            try document.whole(try Self.installed() + [newer], ledger: LedgerName("shop")!))
        let description = made["info"]["description"].text ?? ""
        #expect(description.hasSuffix("This program cannot read the definition of newer."), "\(description)")
        let schemas = made["components"]["schemas"].members.keys
        #expect(schemas.contains("parcel.sent.Data") && !schemas.contains { $0.hasPrefix("newer") })
        if document == .openapi {
            let listed = made["components"]["parameters"]["category"]["schema"]["enum"].elements.map(\.text)
            #expect(listed.contains("newer"))
        }
    }
}
