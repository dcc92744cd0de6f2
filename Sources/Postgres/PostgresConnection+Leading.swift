extension PostgresConnection {
    /// Closes the connection where its server is not the leading one any more: before a statement,
    /// and between the parts of a long answer.
    func requireLeading(_ libpq: LibpqConnection) throws(PostgresError) {
        do throws(PostgresError) {
            try libpq.server?.check(isStandby: libpq.isStandby)
        } catch {
            close()
            throw error
        }
    }
}
