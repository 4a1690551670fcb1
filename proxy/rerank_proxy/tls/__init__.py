"""TLS: contexts that follow their files, certificates and keys as PEM, pinned fingerprints."""
