"""Tests of `rerank_proxy.app.formats`."""
