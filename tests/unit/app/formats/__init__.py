"""Tests of `proxy.app.formats`."""
