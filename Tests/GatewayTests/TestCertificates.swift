// Certificates for the tests: EC P-256, signed by a CA of their own whose key nobody has. They protect nothing.

enum TestCertificates {
  /// localhost and 127.0.0.1, 2020 to 2120.
  static let box = """
    -----BEGIN CERTIFICATE-----
    MIIBQDCB6KADAgECAhQgkL7/Jh0qcPquLNxd0x4ZFMpuCjAKBggqhkjOPQQDAjAS
    MRAwDgYDVQQDDAd0ZXN0LWNhMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAw
    MDAwWjAOMQwwCgYDVQQDDANib3gwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASu
    ZTk/G9WqTjKFMXvzYdjl2qfTuSSdasm4+O0EWFElshtKPRzpV93GgzfedGUAKi2r
    LM3pscfBwIiulf8zfroIox4wHDAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEw
    CgYIKoZIzj0EAwIDRwAwRAIgcC33YW7tvtOIkoN8UNoxOr+qNsLE3pf+fnKZhpB1
    qp0CIEaa0hH7faVY2QaFyWzMFVPsIWq68CMUHOh+H8/C+mgh
    -----END CERTIFICATE-----
    """ + "\n"
  static let boxKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLzG3DahWpKa2laC2
    pjD/AZoRnlfCIhRwe8PAQ+cz2j+hRANCAASuZTk/G9WqTjKFMXvzYdjl2qfTuSSd
    asm4+O0EWFElshtKPRzpV93GgzfedGUAKi2rLM3pscfBwIiulf8zfroI
    -----END PRIVATE KEY-----
    """ + "\n"
  /// The same names, another key.
  static let other = """
    -----BEGIN CERTIFICATE-----
    MIIBQjCB6qADAgECAhRgjVeQokh33Oz5PHDxOVFL0mfOvTAKBggqhkjOPQQDAjAS
    MRAwDgYDVQQDDAd0ZXN0LWNhMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAw
    MDAwWjAQMQ4wDAYDVQQDDAVvdGhlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
    BEohwtMy1C3xNmqUOymPSIF21xSe8M5rzvKHzaIOT6Khs3i6wB+n2qisybMwB6Nh
    bQZ1bPWkvzKMr6qoI10DZnGjHjAcMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAA
    ATAKBggqhkjOPQQDAgNHADBEAiANQ0osN9WNZ5QtNtkj5KpHVSoHdm446FyDYlit
    HR8LhwIgeNrhk10Gd9+l/LI7lK7lnJcRf2JYV7Yu+5bwJ+nhmU8=
    -----END CERTIFICATE-----
    """ + "\n"
  static let otherKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgljfA+l3rfg3/iPIC
    ZXN1auy6GXCg4jqK6iw6AIhscGyhRANCAARKIcLTMtQt8TZqlDspj0iBdtcUnvDO
    a87yh82iDk+iobN4usAfp9qorMmzMAejYW0GdWz1pL8yjK+qqCNdA2Zx
    -----END PRIVATE KEY-----
    """ + "\n"
  /// Of 2020 alone.
  static let expired = """
    -----BEGIN CERTIFICATE-----
    MIIBPjCB5qADAgECAhR5VaWowLXxu0WawMvXQ1rzKHHvqjAKBggqhkjOPQQDAjAS
    MRAwDgYDVQQDDAd0ZXN0LWNhMB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAw
    MFowDjEMMAoGA1UEAwwDb2xkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUbhA
    hY2Nw1KilenxB5OEut+j8+w0Y3sE9HrBhd1kNrkHRkftri6HR+rBVKp6qKCiuK3y
    a//m7P3JqdHKkZOwZ6MeMBwwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAoG
    CCqGSM49BAMCA0cAMEQCIDORhcWf2fKOc9GULy1nsYb73k7plX0L2tIbOE9Xj8Nz
    AiA2ZeEdKDFMdjvXqi61qlbifI7lExL0rii+84atCQdyjg==
    -----END CERTIFICATE-----
    """ + "\n"
  static let expiredKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9DWVSQC9yobma1iY
    3llUp/5U/vW1T8XwEyft7+QcEFChRANCAARRuECFjY3DUqKV6fEHk4S636Pz7DRj
    ewT0esGF3WQ2uQdGR+2uLodH6sFUqnqooKK4rfJr/+bs/cmp0cqRk7Bn
    -----END PRIVATE KEY-----
    """ + "\n"
  /// Of 2119 alone.
  static let early = """
    -----BEGIN CERTIFICATE-----
    MIIBRTCB7KADAgECAhQ1Of5BJzI+2k419bnzoryK9I1x3TAKBggqhkjOPQQDAjAS
    MRAwDgYDVQQDDAd0ZXN0LWNhMCIYDzIxMTkwMTAxMDAwMDAwWhgPMjEyMDAxMDEw
    MDAwMDBaMBAxDjAMBgNVBAMMBWVhcmx5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
    QgAEF+k1+cZshnfDW4J/NL38f6JbD46XpCna5euTVrPprO9ZFfAE7urcLTKJvEEO
    Zeb4JtXhDAlkYqqF1LEGy4AHXKMeMBwwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/
    AAABMAoGCCqGSM49BAMCA0gAMEUCIQD1Jt77UMHHuOepIb2xmqaV6CIobUz+ft5N
    wVh7LzxQeQIgAakwQ8Z7Q/z+gHq/RLRuovCsldLofbtVnbSmk8SnC2U=
    -----END CERTIFICATE-----
    """ + "\n"
  static let earlyKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglmUH+N8uoJcpsXKy
    FyjNLRdh2YcGOt9GwGiGaY3QOk6hRANCAAQX6TX5xmyGd8Nbgn80vfx/olsPjpek
    Kdrl65NWs+ms71kV8ATu6twtMom8QQ5l5vgm1eEMCWRiqoXUsQbLgAdc
    -----END PRIVATE KEY-----
    """ + "\n"
  static let lockedKey = """
    -----BEGIN ENCRYPTED PRIVATE KEY-----
    MIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBA0xEVh1OWCx2M36t8g
    0N3MAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQSjzDlpf6UKrtesBR
    myZbHQSBkAFeUtF+nSR9j0dx0XuBeHeVIxkPnfPSHl6ZTemAn0NP4lEhKfMFmfsX
    ezwhCyuYkO/RXKwpricAIuvzjM+s0xQoP/4U34SbiEpgP1pL3i4jtCLU3oZVASWd
    /Gg7mgmAsB0Zwc10BJ3qmboHsU4amBifE2P8mjXuyn0Sk7JVAA5WGCgxLq4jKOOg
    0o5kQwF37A==
    -----END ENCRYPTED PRIVATE KEY-----
    """ + "\n"
  static let authority = """
    -----BEGIN CERTIFICATE-----
    MIIBOzCB4aADAgECAhQg9vzOHakyhmfDnYYDOsvloeIMGDAKBggqhkjOPQQDAjAS
    MRAwDgYDVQQDDAd0ZXN0LWNhMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAw
    MDAwWjASMRAwDgYDVQQDDAd0ZXN0LWNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
    QgAEClqWOeneaFRxgO4CNT2ZUDIEx1Xv+RWLuUMk8efjxMsUXqY5cSrO4kS3KnwD
    SSYtCGblMSZsppv3baB1mye7daMTMBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjO
    PQQDAgNJADBGAiEAxYfphwa4Qu4CrEwYiy5Jz3S30WXIR5Wm3F8tTxgtmtMCIQDr
    3A9X9OxH+8v6LED4ktxxhRXzOpXyOk4NZpb+j4Ra6g==
    -----END CERTIFICATE-----
    """ + "\n"
}
