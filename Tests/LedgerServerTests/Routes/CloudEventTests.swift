import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite("CloudEvents and traces over HTTP") struct CloudEventTests {
    @Test("CloudEvents: structured, batch, binary") func cloudEvents() async throws {
        try await TestService.with { service in
            let id = EventID.version7().text
            let one = """
                {"specversion":"1.0","id":"\(id)","source":"/backtester/3","type":"io.jobledger.job.queued",
                 "time":"2026-01-02T03:04:05Z","actor":"ada","correlationid":"c-1","tenant":"x",
                 "data":{"name":"sma",  "total":2}}
                """
            let first = try await service.ask("POST", "/v1/jobs/a/events", one, type: "application/cloudevents+json")
            #expect(first.status == 201 && first.json["event_id"].text == id, "\(first)")
            #expect(
                try await service.ask("POST", "/v1/jobs/a/events", one, type: "application/cloudevents+json").status
                    == 200)
            let batch = """
                [{"specversion":"1.0","id":"\(EventID.version7().text)","source":"/s",
                  "type":"io.jobledger.job.progress","subject":"a","data":{"completed":1}},
                 {"specversion":"1.0","id":"\(EventID.version7().text)","source":"/s",
                  "type":"io.jobledger.job.queued","subject":"b","data":{"name":"b"}}]
                """
            let many = try await service.ask("POST", "/v1/events", batch, type: "application/cloudevents-batch+json")
            #expect(many.json["results"].elements.map { $0["position"].number } == [2, 3], "\(many)")
            let headers = [
                "ce-specversion": "1.0", "ce-id": EventID.version7().text, "ce-source": "/s",
                "ce-type": "io.jobledger.job.progress",
                "ce-causationid": "gr%C3%BCn",
            ]
            let binary = try await service.ask("POST", "/v1/jobs/a/events", #"{"completed":2}"#, headers: headers)
            #expect(binary.status == 201, "\(binary)")
            let events = try await service.ledger.store.page(EventQuery(job: "a"))
            #expect(events[0].data == #"{"name":"sma",  "total":2}"#)
            #expect(
                events[0].metadata == #"{"source":"/backtester/3","actor":"ada","correlation_id":"c-1","tenant":"x"}"#)
            #expect(events[0].occurredAt == Timestamp("2026-01-02T03:04:05Z"))
            #expect(
                events[2].data == #"{"completed":2}"# && events[2].metadata.contains(#""causation_id":"grün""#),
                "\(events[2])")
        }
    }

    @Test(
        "invalid CloudEvents, and those of another application",
        arguments: [
            (#""specversion":"0.3""#, "specversion"), (#""id":"not-a-uuid""#, "UUID"),
            (#""type":"com.example.other""#, "type"),
            (#""data_base64":"e30=""#, "data_base64"), (#""datacontenttype":"text/xml""#, "datacontenttype"),
            (#""subject":"another""#, "subject"), (#""time":"yesterday""#, "time"), (#""Upper":1"#, "Upper"),
        ])
    func brokenCloudEvents(member: String, says: String) async throws {
        try await TestService.with { service in
            // The member replaces the valid one of the same name.
            let sound = [
                #""specversion":"1.0""#, #""id":"\#(EventID.version7().text)""#, #""source":"/s""#,
                #""type":"io.jobledger.job.queued""#,
                #""data":{"name":"x"}"#,
            ].filter { !$0.hasPrefix(member.prefix { $0 != ":" }) }
            let body = "{\((sound + [member]).joined(separator: ","))}"
            let answer = try await service.ask("POST", "/v1/jobs/a/events", body, type: "application/cloudevents+json")
            #expect(answer.status == 422 && answer.text.contains(says), "\(answer)")
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test("the caller's trace goes into the event, unless the event has its own") func trace() async throws {
        try await TestService.with { service in
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let headers = ["traceparent": trace, "tracestate": "a=1"]
            let id = EventID.version7().text
            let event = #"{"event_id":"\#(id)","type":"queued","data":{"name":"x"},"metadata":{"actor":"ada"}}"#
            _ = try await service.append(event, to: "a", headers: headers)
            // A retry has another span, and is the same event.
            let again = ["traceparent": trace.replacing("b7ad", with: "c7ad")]
            #expect(try await service.append(event, to: "a", headers: again).status == 200)
            _ = try await service.append(#"{"type":"progress","data":{"completed":1}}"#, to: "a", headers: headers)
            _ = try await service.append(
                #"{"type":"progress","data":{"completed":1},"metadata":{"traceparent":"own"}}"#, to: "a",
                headers: headers)
            _ = try await service.append(
                #"{"type":"progress","data":{"completed":1}}"#, to: "a", headers: ["traceparent": "nonsense"])
            let metadata = try await service.ledger.store.page(EventQuery()).map(\.metadata)
            #expect(
                metadata == [
                    #"{"traceparent":"\#(trace)","tracestate":"a=1","actor":"ada"}"#,
                    #"{"traceparent":"\#(trace)","tracestate":"a=1"}"#, #"{"traceparent":"own"}"#, "{}",
                ])
        }
    }

    @Test("two members of the same name are refused") func repeatedMembers() async throws {
        try await TestService.with { service in
            let id = EventID.version7().text
            let cloudEvent = #""specversion":"1.0","id":"\#(id)","source":"/x","type":"io.jobledger.job.queued""#
            let requests = [
                (#"{"type":"failed","type":"queued","data":{"name":"x"}}"#, "application/json"),
                (#"{"type":"queued","data":{"name":"x"},"metadata":null,"metadata":{}}"#, "application/json"),
                (#"{\#(cloudEvent),"data":{},"data":{"name":"x"}}"#, "application/cloudevents+json"),
                (#"{\#(cloudEvent),"actor":"ada","actor":"eve","data":{"name":"x"}}"#, "application/cloudevents+json"),
            ]
            for (body, type) in requests {
                let answer = try await service.ask("POST", "/v1/jobs/a/events", body, type: type)
                #expect(answer.status == 422 && answer.code == "invalid_event", "\(body): \(answer)")
                #expect(answer.json["detail"].text?.contains("is given twice") == true, "\(body): \(answer)")
            }
            #expect(try await service.ledger.count() == 0)
        }
    }
}
