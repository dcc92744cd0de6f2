import Foundation
import PackagePlugin

/// Embeds the files of folders as Swift source in the module that uses them, so that the binary
/// needs no files beside it.
@main
struct EmbedFiles: BuildToolPlugin {
    /// The folders that are embedded in each module. Where there are several, the paths of the
    /// embedded files begin with the folder's name.
    static let folders = [
        "EventStore": ["migrations"], "Projections": ["projections"], "Categories": ["categories"],
        "LedgerServer": ["api", "dashboard"],
    ]

    func createBuildCommands(context: PluginContext, target: any Target) async throws -> [Command] {
        guard let names = Self.folders[target.name] else { return [] }
        let package = context.package.directoryURL
        let base = names.count == 1 ? package.appending(path: names[0]) : package
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedFiles.swift")
        let files = names.flatMap { Self.files(in: package.appending(path: $0)) }
        return [
            .buildCommand(
                displayName: "Embedding \(names.map { $0 + "/" }.joined(separator: " and "))",
                executable: try context.tool(named: "embed-files").url,
                arguments: [base.path, output.path] + files.map(\.path),
                inputFiles: files,
                outputFiles: [output])
        ]
    }

    private static func files(in folder: URL) -> [URL] {
        let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL }
        return (all ?? []).filter { !$0.hasDirectoryPath && !$0.lastPathComponent.hasPrefix(".") }
            .sorted { $0.path < $1.path }
    }
}
