"""What pooling that is not the model's own costs in search: nDCG@10 by pooling, in fp32.

python tests/numerics/compare_pooling.py MODEL DATASET [DATASET ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.tasks.datasets import read_dataset
from intel_quantized_embeddings.tasks.measure import measure

if __name__ == "__main__":
    model, *folders = sys.argv[1:]
    own = Encoder.load(model, precision="fp32").settings.pooling.value
    for folder in folders:
        dataset = read_dataset(Path(folder))
        for pooling in ("cls", "mean"):
            encoder = Encoder.load(model, precision="fp32", pooling=pooling, max_length=256)
            metric = measure(dataset, encoder, similarity=encoder.settings.similarity).metrics[0]
            of_the_model = ", the model's own" if pooling == own else ""
            print(f"{dataset.name}: {metric.name} {metric.score:.4f} with {pooling}{of_the_model}", flush=True)
