"""Make a release: the version, distributions, their smoke test, licences and bills of materials."""
