#!/usr/bin/env bash
# tokenizers 0.22.2, 0.23.1 and 0.23.3, Python 3.11.
# Truncating a pair keeps every combination of what was cut from one text with what was cut from the other: what is kept of
# a pair of long texts grows with the product of their lengths, although only the first tokens are asked for. 0.23.1 alone
# stops early; in it a single text that was cut leaves no overflow at all where no special tokens are added.
# Printed: version, overflowing encodings of 400 words cut at 10, of pairs of 100 and 100, of 400 and 400. Output seen:
#   0.22.2: 39, 399, 6399
#   0.23.1: 0, 3, 3
#   0.23.3: 39, 399, 6399
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.22.2 0.23.1 0.23.3; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q "tokenizers==$version" 2>"$folder/pip.log" || { cat "$folder/pip.log" >&2; exit 1; }
    "$folder/$version/bin/python" - <<'PYTHON' | tee -a "$folder/seen"
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers

tokenizer = Tokenizer(models.WordLevel({"cat": 0, "[UNK]": 1}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.enable_truncation(10)
alone = len(tokenizer.encode("cat " * 400).overflowing)
pairs = [len(tokenizer.encode("cat " * words, "cat " * words).overflowing) for words in (100, 400)]
print(f"{tokenizers.__version__}: {alone}, {pairs[0]}, {pairs[1]}")
PYTHON
done
if [ "$(cat "$folder/seen")" != $'0.22.2: 39, 399, 6399\n0.23.1: 0, 3, 3\n0.23.3: 39, 399, 6399' ]; then
    echo "the behaviour changed" >&2
    exit 1
fi
