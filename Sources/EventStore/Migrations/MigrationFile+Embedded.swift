extension MigrationFile {
    /// The migrations that are embedded in the binary.
    package static func embedded() throws -> [MigrationFile] {
        try EmbeddedFiles.all.filter { $0.path.hasSuffix(".sql") }.map {
            try MigrationFile(name: $0.path, text: $0.text)
        }
        .sorted { $0.version < $1.version }
    }
}
