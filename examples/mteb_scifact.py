"""Evaluate a model with mteb on a retrieval set that lies on this machine, with no network.

    python examples/mteb_scifact.py ../shared/data/scifact
    python examples/mteb_scifact.py FOLDER --model BAAI/bge-small-en-v1.5 --precisions int8 fp32

FOLDER is laid out as BEIR's are: corpus.jsonl, queries.jsonl and qrels/test.tsv. Tasks that mteb fetches from the
hub itself are evaluated the same way: `mteb.evaluate(model, mteb.get_task("SciFact"))`.
Needs `pip install -e '.[mteb]'`, which brings torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import mteb
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    from intel_quantized_embeddings import Encoder
    from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError
    from intel_quantized_embeddings.integrations.mteb import IntelQuantizedMTEBEncoder
    from intel_quantized_embeddings.tasks.datasets import RetrievalDataset, read_dataset
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[mteb]'")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SCORES = ("ndcg_at_10", "map_at_10", "mrr_at_10", "recall_at_100")


class BeirFolder(AbsTaskRetrieval):
    """A retrieval set on disk as one of mteb's tasks."""

    metadata = TaskMetadata(
        name="BeirFolder",
        description="A retrieval set laid out as BEIR's are.",
        dataset={"path": "local", "revision": "local"},
        type="Retrieval",
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def __init__(self, data: RetrievalDataset) -> None:
        super().__init__()
        self.data = data

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        """Hand the texts over. A document's title stands before its text, as mteb would put it."""
        documents, queries = (
            Dataset.from_list([{"id": key, "text": text} for key, text in texts.items()])
            for texts in (self.data.documents, self.data.queries)
        )
        split = {"corpus": documents, "queries": queries, "relevant_docs": self.data.relevant, "top_ranked": None}
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def evaluate(model: IntelQuantizedMTEBEncoder, folder: Path) -> dict[str, float]:
    """Score a model with mteb. Nothing is kept in its cache, which knows a task by name and not by its files."""
    data = read_dataset(folder)
    if not isinstance(data, RetrievalDataset):
        raise OptionError(f"{data} can't be searched; a folder with corpus.jsonl is needed.")
    result = mteb.evaluate(
        model, BeirFolder(data), cache=None, co2_tracker=False, encode_kwargs={"show_progress_bar": False}
    )
    return result.task_results[0].scores["test"][0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Evaluate a model with mteb on a BEIR folder.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="corpus.jsonl, queries.jsonl and qrels/test.tsv")
    parser.add_argument("--model", default=MODEL, help="a hub id or a folder (%(default)s)")
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["int8"],
        metavar="PRECISION",
        help="int8, fp32; bf16 with the extra openvino",
    )
    parser.add_argument("--max-length", type=int, metavar="TOKENS", help="instead of what the model's folder says")
    options = parser.parse_args(argv)
    try:
        print("precision  " + "  ".join(SCORES))
        for precision in options.precisions:
            runtime = "openvino" if precision == "bf16" else None  # which the default one does not have
            encoder = Encoder.load(options.model, runtime=runtime, precision=precision, max_length=options.max_length)
            model = IntelQuantizedMTEBEncoder(encoder, name=f"local/{Path(options.model).name}")
            scores = evaluate(model, options.folder)
            print(f"{precision:<11}" + "  ".join(f"{scores[name]:<{len(name)}.4f}" for name in SCORES).rstrip())
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
