"""RoBERTa (https://arxiv.org/abs/1907.11692): XLM-RoBERTa and CamemBERT are the same with other vocabularies."""

from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.description import Architecture, Block
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, MaskedLMNames

ROBERTA = Architecture(
    name="roberta",
    model_types=("roberta", "xlm-roberta", "camembert"),
    block=Block(positions_after_padding=True),
    pad_token_id=1,
    prefixes=("roberta.",),
    weights=BERT.weights,
    head=HeadNames(dense="classifier.dense", output="classifier.out_proj"),
    masked_lm=MaskedLMNames(
        dense="lm_head.dense", norm="lm_head.layer_norm", decoder="lm_head.decoder", bias="lm_head.bias"
    ),
)
