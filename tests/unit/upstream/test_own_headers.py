"""The headers of answers that are made here."""

from multidict import CIMultiDict

from rerank_proxy.upstream.own_headers import own_headers

PRODUCT = ("X-elastic-product", "Elasticsearch")


def test_clients_recognise_the_product() -> None:
    assert own_headers(CIMultiDict()) == [PRODUCT]


def test_an_opaque_id_comes_back() -> None:
    assert own_headers(CIMultiDict({"x-opaque-id": "7"})) == [("X-Opaque-Id", "7"), PRODUCT]
