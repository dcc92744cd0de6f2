extension SentEvent {
    /// From the attributes of a CloudEvent 1.0 and its data.
    ///
    /// `id` is the event id and must be a UUID, `type` is `io.jobledger.job.progress` or one of its
    /// kind, `subject` the job, `time` when it occurred. `actor`, `correlationid`, `causationid`
    /// and `traceparent` go to the metadata under the ledger's own names, `source` and all other
    /// extensions under theirs. `position`, `streamversion`, `recordedtime` and `total` are what a
    /// ledger says of an event; a ledger that is asked to append one gives it new ones.
    /// - Parameters:
    ///   - attributes: their values as JSON text.
    ///   - data: JSON text; `nil` where there is none.
    public init(
        cloudEvent attributes: [JSONText.Slice], data: ArraySlice<UInt8>?
    ) throws(Refusal) {
        try Self.refuseRepeated(attributes)
        var (id, source, type, subject): (String?, String?, String?, JobID?)
        var (version, moment): (String?, Timestamp?)
        var expectedVersion: Int32?
        var metadata: [UInt8] = []
        for (name, value) in attributes where !value.elementsEqual("null".utf8) {
            switch name {
            case "specversion": version = try Self.string(value, name)
            case "id": id = try Self.string(value, name)
            case "type": type = try Self.string(value, name)
            case "subject": subject = JobID(try Self.string(value, name))
            case "time": moment = try Self.moment(try Self.string(value, name), name)
            case "datacontenttype":
                let sent = try Self.string(value, name)
                guard Self.isJSON(mediaType: sent) else {
                    throw Refusal(
                        .invalidEvent,
                        "\"datacontenttype\" must be application/json, or a type that ends with +json, for an event's data is a JSON object, not \(Self.shown(sent))"
                    )
                }
            case "data_base64":
                throw Refusal(.invalidEvent, "\"data_base64\": an event's data is a JSON object, in \"data\"")
            case "expectedversion":
                // In a header a number is a text.
                let text = JSONText.string(from: value).flatMap {
                    Int32(decimal: $0) == nil ? nil : Array($0.utf8)[...]
                }
                expectedVersion = try Self.expectedVersion(text ?? value, name)
            case "position", "streamversion", "recordedtime", "total": break
            case "dataref":
                throw Refusal(
                    .invalidEvent,
                    "\"dataref\": the data must stand in the event; fetch them from \(try Self.string(value, name).shortened(toBytes: 200)) first"
                )
            default:
                if name == "source" {
                    let text = try Self.string(value, name)
                    if text.isEmpty {
                        throw Refusal(.invalidEvent, "\"source\" must not be empty: it says where the event comes from")
                    }
                    source = text
                } else if let first = value.first, first == UInt8(ascii: "{") || first == UInt8(ascii: "[") {
                    throw Refusal(
                        .invalidEvent, "\"\(name)\" must be a text, a number, true or false: an attribute has no parts")
                }
                guard !name.isEmpty, name.utf8.allSatisfy(Self.isAttributeCharacter) else {
                    throw Refusal(
                        .invalidEvent,
                        "\"\(Self.shown(name.text))\" is no name of an attribute: they have lower-case letters a–z and digits; what the event says belongs into \"data\""
                    )
                }
                metadata += (metadata.isEmpty ? "\"" : ",\"").utf8
                metadata += (Self.metadataNames[name] ?? name.text).utf8
                metadata += "\":".utf8
                metadata += value
            }
        }
        guard version == "1.0" else {
            throw Refusal(.invalidEvent, "\"specversion\" must be \"1.0\": an event is a CloudEvent 1.0")
        }
        guard let id, source != nil, let type else {
            let missing = [id == nil ? "id" : nil, source == nil ? "source" : nil, type == nil ? "type" : nil]
                .compactMap { $0 }
            throw Refusal(
                .invalidEvent,
                "\(missing.joined(separator: " and ")) missing: a CloudEvent has \"id\" (a UUID), \"source\" and \"type\" (such as \(CloudEvent.typePrefix)progress)"
            )
        }
        guard let eventID = EventID(text: id) else {
            throw Refusal(
                .invalidEvent,
                "\"id\" must be a UUID such as \(EventID.version7().text), for it is the event's id in the ledger, not \(Self.shown(id))"
            )
        }
        guard type.hasPrefix(CloudEvent.typePrefix) else {
            throw Refusal(
                .invalidEvent,
                "\"type\" must be \(CloudEvent.typePrefix)queued, or the same with progress, truncated, finished or failed, not \(Self.shown(type))"
            )
        }
        let event = NewEvent(
            type: String(type.dropFirst(CloudEvent.typePrefix.count)),
            data: try data.map { data throws(Refusal) in try Self.json(data, in: "the data") } ?? "{}",
            metadata: try Self.json((Array("{".utf8) + metadata + Array("}".utf8))[...], in: "the event"), id: eventID,
            occurredAt: moment)
        self.init(job: subject, event: event, hasID: true, expectedVersion: expectedVersion)
    }

    /// Types are the same in whatever letters (RFC 9110, 8.3.1), and parameters say nothing here.
    private static func isJSON(mediaType: String) -> Bool {
        let essence = mediaType.utf8.prefix { $0 != UInt8(ascii: ";") }.filter { $0 != 0x20 && $0 != 0x09 }
        let type = String(decoding: essence, as: UTF8.self).lowercased()
        return type == "application/json" || type.hasSuffix("+json")
    }

    private static let metadataNames: [ExactText: String] = [
        "correlationid": "correlation_id", "causationid": "causation_id",
    ]

    private static func isAttributeCharacter(_ byte: UInt8) -> Bool {
        byte.isDigit || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }
}
