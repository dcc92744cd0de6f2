import Foundation

/// Why a file cannot be read, in the system's words, for who has named it.
enum UnreadableFile {
    static func reason(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            ? "it is a directory" : "it is no file that can be read"
    }
}
