"""Published cross-encoders that run; their own files say how they are used, and nothing is filled in by name.

Sources are the models' cards, at https://huggingface.co/ID.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListedCrossEncoder:
    """A published cross-encoder.

    Attributes:
        architecture: The `model_type` of its config.json.
        licence: As the hub abbreviates it.
    """

    architecture: str
    licence: str


# By hub id.
KNOWN_CROSS_ENCODERS = {
    "cross-encoder/ms-marco-MiniLM-L4-v2": ListedCrossEncoder("bert", "apache-2.0"),
    "cross-encoder/ms-marco-MiniLM-L6-v2": ListedCrossEncoder("bert", "apache-2.0"),
    "cross-encoder/ms-marco-MiniLM-L12-v2": ListedCrossEncoder("bert", "apache-2.0"),
    "cross-encoder/ms-marco-electra-base": ListedCrossEncoder("electra", "apache-2.0"),
    "BAAI/bge-reranker-base": ListedCrossEncoder("xlm-roberta", "mit"),
    "BAAI/bge-reranker-large": ListedCrossEncoder("xlm-roberta", "mit"),
    "BAAI/bge-reranker-v2-m3": ListedCrossEncoder("xlm-roberta", "apache-2.0"),
    "Qwen/Qwen3-Reranker-0.6B": ListedCrossEncoder("qwen3", "apache-2.0"),
    "Alibaba-NLP/gte-reranker-modernbert-base": ListedCrossEncoder("modernbert", "apache-2.0"),
    "Alibaba-NLP/gte-multilingual-reranker-base": ListedCrossEncoder("new", "apache-2.0"),
}
