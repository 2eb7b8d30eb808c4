"""What a run records beside its figures."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.benchmarks.options import Options, Subject
from intel_quantized_embeddings.benchmarks.systems import BATCH_SIZE
from intel_quantized_embeddings.benchmarks.texts import SEED, Corpus
from intel_quantized_embeddings.benchmarks.timing import Effort

# A turn of the latency part takes milliseconds, so there are more of them.
LATENCY_TURNS = 2


def model_facts(subject: Subject) -> dict[str, Any]:
    """Return facts about the model."""
    return {
        "revision_or_weights_sha256": subject.digest,
        "pooling": subject.settings.pooling.value,
        "normalize": subject.settings.normalize,
        "dimension": subject.dimension,
        "size": None if subject.size is None else dataclasses.asdict(subject.size),
    }


def run_settings(options: Options, subject: Subject, request: Request) -> dict[str, Any]:
    """Return the settings of the measurement."""
    return {
        "threads": request.num_threads,
        "max_length": subject.max_length,
        "turns": options.repeats,
        "latency_turns": options.repeats * LATENCY_TURNS,
        "throughput_turns": {str(size): Effort.of(size, turns=options.repeats).turns for size in options.batch_sizes},
        "query_rounds": options.query_rounds,
        "batch_size": BATCH_SIZE,
        "throughput_tokens": subject.throughput_tokens,
        "longest_query": subject.longest_query,
        "instructions": "none, for any system",
        "seed": SEED,
    }


def corpus_facts(corpus: Corpus, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Return facts about the texts, without the texts."""
    natural = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(corpus.texts))]
    lengths = np.minimum(natural, max_length)
    return {
        "texts": len(corpus.texts),
        "sources": corpus.sources,
        "sha256": corpus.digest,
        "seed": SEED,
        "tokens_mean": float(lengths.mean()),
        "tokens_percentiles": {str(p): float(np.percentile(lengths, p)) for p in (0, 10, 50, 90, 100)},
    }
