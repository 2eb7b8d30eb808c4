"""One process on all cores, or a Ray actor on each: python tests/numerics/compare_ray.py FOLDER [--machines].

FOLDER is a quantized folder. Both embed the same scifact abstracts, taking turns and warmed up: the process by
`Encoder` with a thread a core, each actor its share. Prints texts/s and tokens/s of both, the ratio turn by turn, and
whether the vectors are the same. Then some whole executions of `map_batches`, which starts actors of its own: texts/s
from when the first batch reached one to when the last left, and start included; what an actor takes to start and in
memory. With --machines the actors are on two machines of a core each, which are namespaces of this one
(tests/support/machines.py; wants root), and the process is on both cores. What docs/scaling.md says comes from it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}  # read by Ray's import, as the next is
if not any(argument.startswith("--address") for argument in sys.argv):
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

import numpy as np
import pyarrow as pa
import ray
import ray.data

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.integrations.ray import EmbedDocuments
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.process.cores import affinity

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"


class Timed(EmbedDocuments):
    """Tells of each batch when it came and when it left, and of the actor what it took."""

    def __init__(self, **options: Any) -> None:
        began = time.time()
        super().__init__(**options)
        self._loading = time.time() - began

    def __call__(self, batch: pa.Table) -> pa.Table:
        began = time.time()
        table = super().__call__(batch)
        pages = dict(re.findall(r"^(Rss|Pss): +(\d+)", Path("/proc/self/smaps_rollup").read_text(), flags=re.MULTILINE))
        told = {"began": began, "ended": time.time(), "loading": self._loading, "pid": os.getpid()}
        for name, value in {**told, "rss": int(pages["Rss"]) / 1e3, "pss": int(pages["Pss"]) / 1e3}.items():
            table = table.append_column(name, pa.array([value] * len(table)))
        return table


def in_turns(texts: list[str], encoder: Encoder, *, folder: Path, actors: int, repeats: int) -> tuple[list[float], ...]:
    """Texts/s of the process and of actors that stay, turn by turn."""
    started = [ray.remote(num_cpus=1)(EmbedDocuments).remote(folder) for _ in range(actors)]
    shares = [ray.put(pa.table({"text": texts[place::actors]})) for place in range(actors)]

    def by_actors() -> list[pa.Table]:
        return ray.get([actor.__call__.remote(share) for actor, share in zip(started, shares, strict=True)])

    expected, embedded = encoder.encode_documents(texts), by_actors()
    vectors = [np.array(table["vector"].to_pylist(), np.float32) for table in embedded]
    same = sum((mine == expected[place::actors]).all(axis=1).sum() for place, mine in enumerate(vectors))
    print(f"{actors} actors; {same} of {len(texts)} vectors the same to the bit")
    speeds: tuple[list[float], ...] = [], []
    for _ in range(repeats):
        for speed, embed in zip(speeds, (lambda: encoder.encode_documents(texts), by_actors), strict=True):
            began = time.perf_counter()
            embed()
            speed.append(len(texts) / (time.perf_counter() - began))
    for actor in started:
        ray.kill(actor)
    return speeds


def by_map_batches(texts: list[str], *, folder: Path, actors: int, rows: int) -> tuple[pa.Table, float]:
    """Embed in one execution of Ray Data; the rows, and when it began."""
    table = pa.table({"text": texts})
    began = time.time()
    blocks = [table.slice(start, rows) for start in range(0, len(texts), rows)]
    dataset = ray.data.from_arrow(blocks).map_batches(
        Timed,
        fn_constructor_kwargs={"model": folder},
        batch_format="pyarrow",
        batch_size=None,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )
    return pa.concat_tables(dataset.iter_batches(batch_format="pyarrow", batch_size=None)), began


def on_two_machines(arguments: list[str]) -> int:
    """Run this on the first of two machines of a core each; its status."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from support.machines import environment, machines, start_ray

    with machines(2) as both:
        for machine in both:
            start_ray(machine, head=both[0])
        command = [sys.executable, __file__, *arguments, "--address", f"{both[0].address}:6379"]
        return subprocess.run(both[0].command(*command, cores=affinity()), env=environment(), check=False).returncode


def told(name: str, values: list[float], digits: int) -> None:
    """Print the median, and 10 to 90 %."""
    low, high = np.percentile(values, [10, 90])
    print(f"{name}: {np.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="One process on all cores, or a Ray actor on each.")
    parser.add_argument("folder")
    parser.add_argument("--texts", type=int, default=200, help="in a turn")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--executions", type=int, default=3, help="of map_batches, of five times as many texts")
    parser.add_argument("--machines", action="store_true", help="the actors on two machines of a core each")
    parser.add_argument("--address", help="of a cluster that runs")
    options = parser.parse_args()
    if options.machines and not options.address:
        sys.exit(on_two_machines(sys.argv[1:]))
    logging.disable(logging.WARNING)

    folder, cores = Path(options.folder).resolve(), len(affinity())
    lines = (SCIFACT / "corpus.jsonl").read_text("utf-8").splitlines()[: 5 * options.texts]
    corpus = [json.loads(line)["text"] for line in lines]
    texts = corpus[: options.texts]
    encoder = Encoder.load(folder, num_threads=cores, warm_shapes=False)
    tokenizer = Tokenizer(folder / TOKENIZER_FILE, max_length=encoder.max_length)
    tokens = sum(map(len, tokenizer.encode(texts).token_ids)) / len(texts)
    began = time.perf_counter()
    own = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    where = {"address": options.address} if options.address else own
    ray.init(**where, log_to_driver=False, logging_level="error")
    print(f"ray.init took {time.perf_counter() - began:.1f} s; texts of {tokens:.0f} tokens")
    ray.data.DataContext.get_current().enable_progress_bars = False

    process, actors = in_turns(texts, encoder, folder=folder, actors=cores, repeats=options.repeats)
    told(f"1 process of {cores} threads, texts/s", process, 1)
    told(f"{cores} actors of 1 core, texts/s", actors, 1)
    told("tokens/s a core, process", [speed * tokens / cores for speed in process], 0)
    told("tokens/s a core, actors", [speed * tokens / cores for speed in actors], 0)
    told("actors by the process", [one / other for one, other in zip(actors, process, strict=True)], 2)

    if not options.executions:
        return
    work, whole, starts, loads, sizes, shares = ([] for _ in range(6))
    for _ in range(options.executions):
        rows, began = by_map_batches(corpus, folder=folder, actors=cores, rows=options.texts // 4)
        ended = time.time()
        first, last = min(rows["began"].to_pylist()), max(rows["ended"].to_pylist())
        work.append(len(corpus) / (last - first))
        whole.append(len(corpus) / (ended - began))
        starts.append(first - began)
        loads += set(rows["loading"].to_pylist())
        sizes.append(max(rows["rss"].to_pylist()))
        shares.append(max(rows["pss"].to_pylist()))
    told(f"map_batches, {len(corpus)} texts at work, texts/s", work, 1)
    told("with the start of its actors, texts/s", whole, 1)
    told("until the first batch reaches an actor, s", starts, 1)
    told("of which to load the model, s", loads, 2)
    told("an actor's resident memory, MB", sizes, 0)
    told("what is its own of it or shared out, MB", shares, 0)


if __name__ == "__main__":
    main()
