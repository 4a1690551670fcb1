"""Which model an id names."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.local_models import LocalModels, StartedDeployment, eland_id
from rerank_proxy.settings import ModelSettings


class Uploaded:
    """One uploaded model with one deployment."""

    def has_model(self, model_id: str) -> bool:
        return model_id == "uploaded"

    def deployments(self) -> Mapping[str, StartedDeployment]:
        return {"started": StartedDeployment("started", "uploaded", 2, 4)}


def models(**sources: str) -> LocalModels:
    return LocalModels({name: ModelSettings(source=source) for name, source in sources.items()})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder__ms-marco-minilm-l-6-v2"),
        ("BAAI/bge-reranker-v2-m3", "baai__bge-reranker-v2-m3"),
        ("plain", "plain"),
        ("/models/My Model", "models__my__model"),
        (r"C:\models\m", "c:__models__m"),
        ("x" * 70, "x" * 64),
        ("a" * 10 + "/" + "b" * 62, "b" * 62),
    ],
)
def test_elands_ids(name: str, expected: str) -> None:
    assert eland_id(name) == expected


@given(st.text(max_size=100))
def test_an_id_is_short_and_has_no_slash(name: str) -> None:
    mapped = eland_id(name)
    assert len(mapped) <= 64
    assert not set(mapped) & set("/\\ \n\t")


@pytest.mark.parametrize(
    "source",
    [
        "cross-encoder/ms-marco-MiniLM-L-6-v2",
        "/models/cross-encoder/ms-marco-MiniLM-L-6-v2",
        "/srv/cross-encoder__ms-marco-minilm-l-6-v2",
    ],
)
def test_a_model_is_found_by_the_id_that_eland_gives_it(source: str) -> None:
    found = models(other="a/b", minilm=source)
    assert found.find("cross-encoder__ms-marco-minilm-l-6-v2") == "minilm"
    assert found.find("minilm") == "minilm"


def test_a_directory_by_its_last_part() -> None:
    assert models(minilm="/models/ms-marco-MiniLM-L-6-v2/").find("ms-marco-minilm-l-6-v2") == "minilm"


def test_nothing_is_guessed() -> None:
    found = models(minilm="cross-encoder/ms-marco-MiniLM-L-6-v2")
    assert found.find("ms-marco-minilm-l-6-v2") is None
    assert found.find("cross-encoder/ms-marco-MiniLM-L-6-v2") is None
    assert found.find("cross-encoder__ms-marco-minilm-l-12-v2") is None


def test_a_repository_is_not_a_name() -> None:
    found = models(**{".rerank-v1": "https://models.example/rerank"})
    assert found.find(".rerank-v1") == ".rerank-v1"
    assert found.find("rerank") is None


def test_an_exact_name_wins_over_the_id_of_another() -> None:
    found = models(first="org/name", org__name="elsewhere/else")
    assert found.find("org__name") == "org__name"


def test_uploaded_models_and_their_deployments() -> None:
    found = LocalModels({"mine": ModelSettings(source="x/uploaded2")}, Uploaded())
    assert found.find("uploaded") == "uploaded"
    assert found.find("missing") is None
    assert found.deployment("started") == StartedDeployment("started", "uploaded", 2, 4)
    assert found.deployment("missing") is None
    assert [found.is_deployed(each) for each in ("started", "uploaded", "mine")] == [True, True, False]
