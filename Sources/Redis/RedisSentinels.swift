package import Texts

/// The Sentinels that know which server of a group is the master at present.
package struct RedisSentinels: Sendable, Equatable {
    package struct Place: Sendable, Equatable, CustomStringConvertible {
        package var host: String
        package var port: UInt16

        package init(host: String, port: UInt16 = 26379) {
            self.host = host
            self.port = port
        }

        package var description: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
    }

    /// At least one. They are asked in this order.
    package var places: [Place]
    /// The name under which they watch the master.
    package var master: String
    /// The Sentinels' own password; the servers' password is the configuration's.
    package var password: SecretText?

    package init(places: [Place], master: String, password: String? = nil) {
        self.places = places
        self.master = master
        self.password = password.map { SecretText($0) }
    }

    /// How to reach one of them.
    func configuration(of place: Place, timeout: Duration) -> RedisConfiguration {
        var configuration = RedisConfiguration(
            address: .tcp(host: place.host, port: place.port), connectTimeout: timeout, replyTimeout: timeout)
        configuration.password = password
        return configuration
    }
}
