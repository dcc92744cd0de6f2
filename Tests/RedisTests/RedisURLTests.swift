import Redis
import Testing
import Texts

private func sentinels(_ places: [RedisSentinels.Place], _ master: String, password: String? = nil)
    -> RedisConfiguration
{
    RedisConfiguration(address: .master(RedisSentinels(places: places, master: master, password: password)))
}

@Suite struct RedisURLTests {
    @Test(arguments: [
        ("redis://localhost", RedisConfiguration(address: .tcp(host: "localhost", port: 6379))),
        ("REDIS://localhost/", RedisConfiguration(address: .tcp(host: "localhost", port: 6379))),
        ("redis://10.0.0.1:7000/3", RedisConfiguration(address: .tcp(host: "10.0.0.1", port: 7000), database: 3)),
        ("redis://:pw@h:1/0", RedisConfiguration(address: .tcp(host: "h", port: 1), password: "pw")),
        ("redis://u:p@h", RedisConfiguration(address: .tcp(host: "h", port: 6379), user: "u", password: "p")),
        (
            "redis://us%3Aer:p%40ss%2Fw%3Ard%25@h:6379",
            RedisConfiguration(address: .tcp(host: "h", port: 6379), user: "us:er", password: "p@ss/w:rd%")
        ),
        ("redis://:p:q@r@h", RedisConfiguration(address: .tcp(host: "h", port: 6379), password: "p:q@r")),
        ("redis://:%C3%A9@h", RedisConfiguration(address: .tcp(host: "h", port: 6379), password: "é")),
        ("redis://[::1]:6380/1", RedisConfiguration(address: .tcp(host: "::1", port: 6380), database: 1)),
        ("redis://[fe80::1]", RedisConfiguration(address: .tcp(host: "fe80::1", port: 6379))),
        ("unix:///run/redis.sock", RedisConfiguration(address: .unixSocket(path: "/run/redis.sock"))),
        (
            "unix://u:p@/run/a%20b?db=2",
            RedisConfiguration(address: .unixSocket(path: "/run/a b"), user: "u", password: "p", database: 2)
        ),
        (
            "unix://:p@/run/a?db=2&requirepeer=post%20gres",
            {
                var expected = RedisConfiguration(address: .unixSocket(path: "/run/a"), password: "p", database: 2)
                expected.peer = "post gres"
                return expected
            }()
        ),
        (
            "redis+sentinel://a,b:7,[::1]/main",
            sentinels([.init(host: "a"), .init(host: "b", port: 7), .init(host: "::1")], "main")
        ),
        (
            "redis+sentinel://u:p%2Cq@a:1/ma%69n/3?sentinel_password=s%3F",
            {
                var expected = sentinels([.init(host: "a", port: 1)], "main", password: "s?")
                (expected.user, expected.password, expected.database) = ("u", SecretText("p,q"), 3)
                return expected
            }()
        ),
    ])
    func reads(url: String, expected: RedisConfiguration) throws {
        #expect(try RedisConfiguration(url: url) == expected)
    }

    @Test(arguments: [
        ("localhost:6379", "scheme"), ("http://h", "scheme"), ("redis://", "no host"), ("redis://:6379", "no host"),
        ("redis://:secret@", "no host"), ("redis://:secret@h:0", "port"), ("redis://:secret@h:65536", "port"),
        ("redis://:secret@h:+1", "port"), ("redis://:secret@h:", "port"), ("redis://:secret@h/x", "database"),
        ("redis://:secret@h/-1", "database"), ("redis://:secret@h/+1", "database"),
        ("redis://:secret@h/1/2", "database"),
        ("redis://:se/secret@h", "%2F"), ("redis://:se?secret@h", "%3F"), ("redis://:secret%zz@h", "%25"),
        ("redis://:secret%2@h", "%25"), ("redis://:secret%ff@h", "UTF-8"), ("redis://:secret%00@h", "UTF-8"),
        ("redis://secret@h", "user without a password"), ("redis://[::1", "]"), ("redis://[h]", "IPv6"),
        ("unix://secret/path", "unix:///path"), ("unix://", "absolute path"), ("unix:///a?secret=1", "?db="),
        ("unix:///a?db=1&secret=1", "?db="), ("unix:///a?requirepeer=", "requirepeer="),
        ("unix:///a?db=1?secret", "database"),
        ("redis+sentinel://:secret@h", "name the master"), ("redis+sentinel://:secret@h/", "name the master"),
        ("redis+sentinel://:secret@/m", "no host"), ("redis+sentinel://:secret@h,/m", "no host"),
        ("redis+sentinel://:secret@h:0/m", "port"), ("redis+sentinel://:secret@h/m/x", "database"),
        ("redis+sentinel://:secret@h/m/1/2", "database"), ("redis+sentinel://:se/secret@h/m", "%2F"),
        ("redis+sentinel://h/m?secret=1", "sentinel_password="), ("redis+sentinel://h/m?", "sentinel_password="),
        ("redis+sentinel://h/m?sentinel_password=a&secret", "sentinel_password="),
        ("redis+sentinel://h/m#secret", "%23"), ("redis+sentinel://secret@h/m", "user without a password"),
        ("rediss+sentinel://:secret@h/m", "stunnel"),
        ("rediss://u:secret@h", "stunnel"), ("rediss://h", "hiredis 0.14 as shipped by Debian 12 has no TLS"),
    ])
    func refuses(url: String, because part: String) throws {
        let error = try #require(throws: RedisError.self) { try RedisConfiguration(url: url) }
        #expect(error.kind == .configuration)
        #expect(!error.isRetriable)
        #expect(error.description.contains(part))
        #expect(!error.description.contains("secret"))
    }

    @Test func descriptionHidesThePassword() throws {
        let configuration = try RedisConfiguration(url: "redis://u:secret@[::1]:6380/1")
        #expect("\(configuration)" == "redis://u:***@[::1]:6380/1")
        let group = try RedisConfiguration(url: "redis+sentinel://:secret@a,[::1]:7/main?sentinel_password=secret")
        #expect("\(group)" == "redis+sentinel://:***@a:26379,[::1]:7/main/0")
    }
}
