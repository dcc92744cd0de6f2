/// A self-signed certificate for localhost, valid for a hundred years, and its key. Everybody knows
/// the key, so it is only for tests.
enum TestCertificate {
    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBmzCCAUGgAwIBAgIUQC4MjE9cL4QqclS3HB3kvDjphnIwCgYIKoZIzj0EAwIw
        FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTAzMjY1M1oYDzIxMjYxMTAx
        MDMyNjUzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAAS44c7RAFRtAGEfzWIHlb1YYRRvnIycFcJyebXjtqiGAbR3UHYZcJb3
        6CpJprSMGXeb+VUx8X1rYp1KBapcHAS2o28wbTAdBgNVHQ4EFgQUhgLsWS1KspkD
        pTLqB3gnFhkg68owHwYDVR0jBBgwFoAUhgLsWS1KspkDpTLqB3gnFhkg68owDwYD
        VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
        zj0EAwIDSAAwRQIgUtxyKjolqtFFv1QboEhdA3iM63Vj2yTTBSO/87UjwI8CIQD2
        2fEt8Vq/6V71zpa80R5V7yfYdMslxFKL2d+y/ndgdA==
        -----END CERTIFICATE-----
        """

    static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwEmSiNTJzTWorXLq
        uYOW9FihtJPlQybSjQYwytCpRgKhRANCAAS44c7RAFRtAGEfzWIHlb1YYRRvnIyc
        FcJyebXjtqiGAbR3UHYZcJb36CpJprSMGXeb+VUx8X1rYp1KBapcHAS2
        -----END PRIVATE KEY-----
        """
}
