import Testing

@testable import LedgerSettings

/// A name that begins like a setting of this program and is none is an error in every source.
@Suite struct SettingSourcesTests {
    private func sources(_ environment: [String: String], _ file: String = "") throws -> SettingSources {
        let sources = SettingSources()
        sources.addEnvironment(environment)
        sources.add(try EnvironmentFile(path: ".env", bytes: Array(file.utf8)))
        for name in ["DATABASE_URL", "JOBLEDGER_SCHEMA", "JOBLEDGER_HTTP_PORT"] { _ = try sources.value(name) }
        return sources
    }

    private func problem(_ environment: [String: String], _ file: String = "") throws -> String {
        try #require(throws: LedgerSettings.Problem.self) { try sources(environment, file).refuseUnknown() }.description
    }

    @Test func theEnvironmentComesFirst() throws {
        let sources = try sources(["JOBLEDGER_SCHEMA": "a"], "JOBLEDGER_SCHEMA=b\nDATABASE_URL=c\nPASSWORD=pa$$word\n")
        #expect(try sources.value("JOBLEDGER_SCHEMA") == "a")
        #expect(try sources.value("DATABASE_URL") == "c")
        #expect(try sources.value("JOBLEDGER_HTTP_PORT") == nil)
        try sources.refuseUnknown()
    }

    @Test func aMalformedLineIsAnErrorEvenIfAnotherSourceComesFirst() throws {
        #expect(throws: LedgerSettings.Problem.self) { try sources(["DATABASE_URL": "a"], "DATABASE_URL=$X") }
    }

    @Test func anEmptyValueMeansUnsetButMustNotHideAnother() throws {
        #expect(try sources(["JOBLEDGER_SCHEMA": ""], "JOBLEDGER_SCHEMA=\n").value("JOBLEDGER_SCHEMA") == nil)
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try sources(["JOBLEDGER_SCHEMA": ""], "JOBLEDGER_SCHEMA=prod")
        }
        #expect(
            error.description == "JOBLEDGER_SCHEMA is empty in the environment but set in .env: remove one of them")
    }

    @Test(arguments: ["JOBLEDGER_SHEMA", "jobledger_schema", "JOBLEDGR_SCHEMA", "JOB_LEDGER_SCHEMA"])
    func aMisspelledNameIsRefusedWithTheNearOne(_ name: String) throws {
        let expected = "\(name), in the environment, is not a setting: is JOBLEDGER_SCHEMA meant?"
        #expect(try problem([name: "x"]) == expected)
        #expect(try problem([:], "\(name)=x") == expected.replacing("the environment", with: ".env"))
    }

    @Test func anUnknownNameOfOursIsRefused() throws {
        #expect(try problem(["JOBLEDGER_COLOUR": "x"]).contains("docs/settings.md"))
    }

    @Test func variablesOfOtherProgramsAreIgnored() throws {
        try sources([
            "JOBLEDGER_TOKEN": "x", "JOBLEDGER_URL": "x", "PATH": "/bin", "SCHEMA": "x",
            "JOBLEDGER_PORT": "tcp://10.0.0.1:80",
            "JOBLEDGER_SERVICE_HOST": "10.0.0.1", "JOBLEDGER_SERVICE_PORT_HTTP": "80",
            "JOBLEDGER_RELAY_SERVICE_HOST": "x",
            "JOBLEDGER_PORT_80_TCP_ADDR": "10.0.0.1", "JOBLEDGER_PORT_80_TCP": "tcp://10.0.0.1:80",
        ]).refuseUnknown()
    }

    /// The message has the place of a malformed value and not the value.
    @Test func aMalformedValueIsNamedAndNotShown() throws {
        let mistake = LedgerSettings.Problem("JOBLEDGER_HTTP_PORT", "must be an integer from 0 to 65535")
        func message(_ environment: [String: String], _ file: String = "") throws -> String {  // plain: names of ours
            try sources(environment, file).located(mistake).description
        }
        #expect(
            try message(["JOBLEDGER_HTTP_PORT": "x"])
                == "JOBLEDGER_HTTP_PORT, in the environment, must be an integer from 0 to 65535")
        #expect(
            try message([:], "\nJOBLEDGER_HTTP_PORT=x")
                == "JOBLEDGER_HTTP_PORT, in .env, line 2, must be an integer from 0 to 65535"
        )
        for name in ["JOBLEDGER_HTTP_PORT", "JOBLEDGER_HTTP_IDLE_SECONDS", "JOBLEDGER_HTTP_CORS_ORIGINS"] {
            let problem = try #require(throws: LedgerSettings.Problem.self) {
                try HTTPSettings { $0 == name ? "S3CR3T/" : nil }
            }
            #expect(problem.description.hasPrefix("\(name) must be") && !problem.description.contains("S3CR3T"))
        }
        for key in ["PRIVATE+KEY+jobledger/x+S3CR3T", "-----BEGIN PRIVATE KEY-----\nS3CR3T", "a\nb"] {
            let problem = try #require(throws: LedgerSettings.Problem.self) {
                try NamedFile(path: key, setting: "JOBLEDGER_SEAL_KEY")
            }
            #expect(problem.description.hasPrefix("JOBLEDGER_SEAL_KEY ") && !problem.description.contains("S3CR3T"))
        }
        #expect(
            "\(try NamedFile(path: "/etc/S3CR3T", setting: "JOBLEDGER_SEAL_KEY"))"
                == "the file that JOBLEDGER_SEAL_KEY names")
    }

    @Test(arguments: [
        "export A=1 JOBLEDGER_SCHEMA=nope", "A=1; JOBLEDGER_SCHEMA=nope", "A=1 jobledger_shema=nope",
        "A=1;DATABASE_URL=x",
    ])
    func aSettingBehindAnotherIsRefused(_ line: String) throws {
        let text = try problem([:], "# two\n" + line)
        #expect(text.hasPrefix(".env, line 2: ") && text.contains("line of its own"), "\(text)")
        #expect(!text.contains("nope"))
    }

    @Test func settingsOfOtherProgramsMayContainWhatLooksLikeSettings() throws {
        try sources([:], "DSN=host=localhost dbname=x\nDATABASE_URL=postgresql://u@/d?host=/tmp&port=5432")
            .refuseUnknown()
    }

    /// If sources disagree about the ledger, the program refuses and does not choose.
    @Test func nothingContradictsTheDataDirectory() throws {
        func value(_ name: String, _ environment: [String: String]) throws -> String? {
            let sources = SettingSources()
            let text = "DATABASE_URL=here\nJOBLEDGER_SCHEMA=one\n"
            sources.add(try EnvironmentFile(path: "d/env", bytes: Array(text.utf8)), isChosen: true)
            sources.addEnvironment(environment)
            return try sources.value(name)
        }
        #expect(try value("JOBLEDGER_SCHEMA", ["JOBLEDGER_SCHEMA": "one"]) == "one")
        #expect(try value("JOBLEDGER_SCHEMA", ["JOBLEDGER_SCHEMA": ""]) == "one")
        #expect(try value("DATABASE_URL", ["DATABASE_URL": "elsewhere"]) == "here")
        #expect(try value("JOBLEDGER_WINDOW", ["JOBLEDGER_WINDOW": "5"]) == "5")
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try value("JOBLEDGER_SCHEMA", ["JOBLEDGER_SCHEMA": "two"])
        }
        #expect(
            error.description.contains("d/env") && error.description.contains("--data-dir")
                && error.description.contains("the environment"))
    }
}
