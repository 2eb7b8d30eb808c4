#!/usr/bin/env bash
# transformers 5.5.4, torch 2.13.0, Python 3.11.
# MPNet's config.json has relative_attention_num_buckets, how many distances a learned bias of attention tells apart. The
# model makes a table of so many rows, and computes places in it for 32 whatever the number is: of 64 rows half are never
# looked up, and trained for nothing; with 16 the model fails on any text longer than a few tokens.
# Output seen:
#   relative_attention_num_buckets=32: a table of 32 rows, looked up 0 to 31
#   relative_attention_num_buckets=64: a table of 64 rows, looked up 0 to 31
#   relative_attention_num_buckets=16: a table of 16 rows, IndexError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "transformers==5.5.4" "torch==2.13.0" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null | tee "$folder/seen"
import torch
import transformers

sizes = {"vocab_size": 300, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
for buckets in (32, 64, 16):
    model = transformers.MPNetModel(transformers.MPNetConfig(**sizes, relative_attention_num_buckets=buckets)).eval()
    table, places = model.encoder.relative_attention_bias, []
    table.register_forward_pre_hook(lambda _, given: places.append(given[0]))
    try:
        model(input_ids=torch.arange(10, 260)[None])
        did = f"looked up {int(places[0].min())} to {int(places[0].max())}"
    except IndexError:
        did = "IndexError"
    print(f"relative_attention_num_buckets={buckets}: a table of {table.num_embeddings} rows, {did}")
PYTHON
{
    echo "relative_attention_num_buckets=32: a table of 32 rows, looked up 0 to 31"
    echo "relative_attention_num_buckets=64: a table of 64 rows, looked up 0 to 31"
    echo "relative_attention_num_buckets=16: a table of 16 rows, IndexError"
} | diff - "$folder/seen"
