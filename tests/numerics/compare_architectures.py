"""Speed and memory of a shape of ModernBERT with random weights: this package beside sentence-transformers.

Run in the reference environment: python tests/numerics/compare_architectures.py [--shape base|small] [--tokens 256
2048] [--peak-at 8192]. Each system encodes the same token ids in turns, two threads each; medians, and the median ratio
of a turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPES = {
    "base": {"num_hidden_layers": 22, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 1152},
    "small": {"num_hidden_layers": 12, "hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
}
VOCABULARY, TOKENS_A_TURN, THREADS, TURNS = 5_000, 8_192, 2, 5


def write(folder: Path, shape: str) -> None:
    """Write a random model as transformers saves it, with tokens that are numbers."""
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    ends = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.ModernBertConfig(vocab_size=VOCABULARY, **ends, **SHAPES[shape])
    transformers.ModernBertModel(config).save_pretrained(folder)
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, **{str(i): i for i in range(3, VOCABULARY)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    fast.save_pretrained(folder)


def texts_of(tokens: int) -> list[str]:
    """Make texts of so many tokens, together as many as a turn has."""
    random = np.random.default_rng(tokens)
    return [" ".join(map(str, random.integers(3, VOCABULARY, tokens))) for _ in range(max(1, TOKENS_A_TURN // tokens))]


def systems(folder: Path) -> dict[str, Callable[[list[str]], object]]:
    """Load each system."""
    import sentence_transformers
    import torch

    from intel_quantized_embeddings import Encoder

    torch.set_num_threads(THREADS)
    options = {"pooling": "mean", "normalize": True, "num_threads": THREADS}
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    print(f"attention of torch: {theirs[0].auto_model.config._attn_implementation}")
    return {
        "native int8": Encoder.load(folder, precision="int8", **options).encode_documents,
        "native fp32": Encoder.load(folder, precision="fp32", **options).encode_documents,
        "openvino fp32": Encoder.load(folder, runtime="openvino", precision="fp32", **options).encode_documents,
        "torch fp32": lambda texts: theirs.encode(texts, batch_size=8),
    }


def compare(folder: Path, lengths: list[int]) -> None:
    """Print texts a second and ratios at each length."""
    loaded = systems(folder)
    for tokens in lengths:
        texts = texts_of(tokens)
        for run in loaded.values():
            run(texts)
        turns = []
        for turn in range(TURNS):
            order = list(loaded)[turn % len(loaded) :] + list(loaded)[: turn % len(loaded)]
            took = {}
            for name in order:
                started = time.perf_counter()
                loaded[name](texts)
                took[name] = time.perf_counter() - started
            turns.append(took)
        for name in loaded:
            rate = len(texts) / statistics.median(took[name] for took in turns)
            by_int8 = statistics.median(took[name] / took["native int8"] for took in turns)
            print(f"{tokens} tokens: {name:14s} {rate:8.2f} texts/s, native int8 is {by_int8:.2f} times as fast")


def peak(folder: Path, tokens: int) -> None:
    """Print the peak of memory that one text of so many tokens adds, and its time beside that of shorter ones."""
    script = f"""
import time, numpy as np
from intel_quantized_embeddings import Encoder
options = dict(pooling="mean", normalize=True, max_length={tokens}, num_threads={THREADS})
encoder = Encoder.load({str(folder)!r}, precision="int8", **options)
words = list(map(str, np.random.default_rng(0).integers(3, {VOCABULARY}, {tokens})))
shorts = [" ".join(words[i : i + 512]) for i in range(0, {tokens}, 512)]
def resident(what):
    return int(open("/proc/self/status").read().partition(what)[2].split()[1]) / 1024
def took(texts):
    started = time.perf_counter()
    encoder.encode_documents(texts)
    return time.perf_counter() - started
took(shorts)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew: loading's was higher
before, long = resident("VmRSS"), took([" ".join(words)])
after = resident("VmHWM")
long, short = (min(took(texts) for _ in range(3)) for texts in ([" ".join(words)], shorts))
print(f"1 x {tokens} tokens: at most {{after - before:.0f}} MB over what was resident before, {{long:.2f}} s;")
print(f"{{len(shorts)}} x 512: {{short:.2f}} s")
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--tokens", type=int, nargs="*", default=[256, 2048])
    parser.add_argument("--peak-at", type=int, default=8192)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.shape)
        peak(Path(folder), options.peak_at)
        if options.tokens:
            compare(Path(folder), options.tokens)


if __name__ == "__main__":
    main()
