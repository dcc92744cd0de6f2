import Foundation
import PackagePlugin

/// Embeds the files of a folder as Swift source in the module that uses them, so that the binary
/// needs no files beside it.
@main
struct EmbedFiles: BuildToolPlugin {
    /// The folder that is embedded in each module.
    static let folders = [
        "EventStore": "migrations", "Projections": "projections", "Categories": "categories", "LedgerServer": "api",
    ]

    func createBuildCommands(context: PluginContext, target: any Target) async throws -> [Command] {
        guard let name = Self.folders[target.name] else { return [] }
        let folder = context.package.directoryURL.appending(path: name)
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedFiles.swift")
        let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?
            .compactMap { $0 as? URL }
            .filter { !$0.hasDirectoryPath && !$0.lastPathComponent.hasPrefix(".") }
            .sorted { $0.path < $1.path }
        return [
            .buildCommand(
                displayName: "Embedding \(name)/",
                executable: try context.tool(named: "embed-files").url,
                arguments: [folder.path, output.path] + (files ?? []).map(\.path),
                inputFiles: files ?? [],
                outputFiles: [output])
        ]
    }
}
