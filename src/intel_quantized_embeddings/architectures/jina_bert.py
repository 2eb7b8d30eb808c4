"""JinaBERT (https://arxiv.org/abs/2310.19923): BERT with gates, and a bias by distance (ALiBi) for positions."""

from __future__ import annotations

from dataclasses import replace

from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.description import ALL_PARTS, Architecture, Block, ConfigKeys, Part

# The repositories that keep the code of this variant. jina-embeddings-v2-base-code is another variant, with norms on
# queries and keys; a model with such layers is refused, whatever its files are called.
_REPOSITORIES = (
    "jinaai/jina-bert-implementation",
    "jinaai/jina-reranker-v1-tiny-en",
    "jinaai/jina-reranker-v1-turbo-en",
)
_CLASSES = ("modeling_bert.JinaBert", "configuration_bert.JinaBert")

JINA_BERT = Architecture(
    name="jina_bert",
    model_types=("jina_bert",),
    written_as={"model_type": "bert", "position_embedding_type": "alibi"},
    block=Block(alibi=True, gated=True, biases=ALL_PARTS - {Part.INTERMEDIATE}),
    keys=ConfigKeys(activation="feed_forward_type"),
    own_code=(*_CLASSES, *(f"{one}--{name}" for one in _REPOSITORIES for name in _CLASSES)),
    position_types=("alibi",),
    prefixes=("bert.",),
    weights=replace(
        BERT.weights,
        position_embeddings=None,
        intermediate="",
        gate_and_intermediate="mlp.gated_layers",
        output="mlp.wo",
        output_norm="mlp.layernorm",
        none_of=("attention.self.layer_norm_q", "mlp.up_gated_layer"),
    ),
    head=BERT.head,
)
