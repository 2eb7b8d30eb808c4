"""Electra (https://arxiv.org/abs/2003.10555): BERT's layers; small models have narrower embeddings."""

from __future__ import annotations

from dataclasses import replace

from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.description import ConfigKeys
from intel_quantized_embeddings.architectures.tensor_names import HeadNames

ELECTRA = replace(
    BERT,
    name="electra",
    model_types=("electra",),
    keys=ConfigKeys(embedding_size="embedding_size"),
    default_embedding_size=128,
    prefixes=("electra.",),
    weights=replace(BERT.weights, embedding_projection="embeddings_project"),
    head=HeadNames(dense="classifier.dense", output="classifier.out_proj", activation="gelu"),
)
