"""Write embedding_gemma2_vectors.json with transformers 5.24: python tests/numerics/make_embedding_gemma2_vectors.py.

The reference environment has a transformers without this family, since optimum-intel asks for one before 5.6. Give it a
newer one first: pip install --target FOLDER transformers==5.24.0, then PYTHONPATH=FOLDER:src:tests.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
import transformers

from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from support.tiny_models import VOCABULARY, write_tiny_model

# Around a window's reach of 6, a block of 16 keys, what the engine takes at a time, and the longest text.
LENGTHS = (1, 2, 5, 6, 7, 8, 13, 14, 16, 17, 33, 95, 97, 129, 130)

if __name__ == "__main__":
    texts = [[5 + (i * i + 7 * length) % (len(VOCABULARY) - 5) for i in range(length)] for length in LENGTHS]
    folder = write_tiny_model(Path(tempfile.mkdtemp()) / "model", family=EMBEDDING_GEMMA2)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        means = [model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(dim=0) for ids in texts]
    content = {
        "made_by": {name: version(name) for name in ("transformers", "torch")},
        "token_ids": texts,
        "vectors": [[round(float(x), 7) for x in mean] for mean in means],
    }
    target = Path(__file__).with_name("embedding_gemma2_vectors.json")
    target.write_text(json.dumps(content) + "\n", "utf-8")
