"""Where the engine's time goes, and its linear layers by the CPU's peak: python tests/numerics/profile_native.py MODEL.

One thread encodes texts of 256 tokens in int8 under `perf`; every sample counts for the part of the engine that it is
in. The peak is that of a loop of nothing but the instruction set's products of bytes. It needs perf, addr2line, g++ and
an engine with names: `make native ARGS=--symbols`.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import sys, time
from intel_quantized_embeddings import Encoder
encoder = Encoder.load({model!r}, runtime="native", num_threads=1, instruction_set={isa!r})
length = min(256, encoder.max_length)
ids = [[1 + (17 * i + 31 * t) % 900 for i in range(length)] for t in range(16)]
encoder.encode_token_ids(ids)
print("ready", flush=True)
started, spent, done = time.perf_counter(), time.process_time(), 0
while time.perf_counter() < started + {seconds} + 1:
    encoder.encode_token_ids(ids)
    done += len(ids) * length
print((time.process_time() - spent) / done, flush=True)
"""
# By instruction set: what adds products of bytes exactly to register {sum}, by way of {a} and {b}, how many products,
# and how many sums are made at once, so that none waits for itself.
# AVX2 adds two pairs in 16 bits before it widens them (isa/avx2.cpp).
PRODUCTS = {
    "avx512vnni": (["vpdpbusd %%zmm14,%%zmm15,%%zmm{sum}"], 64, 12),
    "avxvnni": (["%{{vex%}} vpdpbusd %%ymm14,%%ymm15,%%ymm{sum}"], 32, 12),
    "avx2": (
        [
            "vpmaddubsw %%ymm14,%%ymm15,%%ymm{a}",
            "vpmaddubsw %%ymm13,%%ymm15,%%ymm{b}",
            "vpaddw %%ymm{a},%%ymm{b},%%ymm{a}",
            "vpmaddwd %%ymm{a},%%ymm12,%%ymm{a}",
            "vpaddd %%ymm{a},%%ymm{sum},%%ymm{sum}",
        ],
        64,
        6,
    ),
}
PEAK = """
#include <stdio.h>
#include <time.h>
int main() {{
  double best = 0;
  for (int round = 0; round < 20; round++) {{
    timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (long k = 0; k < 4000000; k++) asm volatile("{body}" ::: {used});
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    const double nanoseconds = (to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec;
    const double speed = 4000000.0 * {products} / nanoseconds;
    best = speed > best ? speed : best;
  }}
  printf("%f", best);
}}
"""
# The innermost of these in a sample's chain of inlined functions is its part.
PARTS = {
    "products": r"^sums",
    "epilogues": r"int8_panels|fp32_panels|linear\b|linear_part|whole_linear",
    "attention": r"attention|attend_all",
    "rows to bytes": r"quantize_row",
    "norms": r"normalize_row|normalize\b",
    "embeddings": r"embed",
}


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--instruction-set", default="avx512vnni", choices=PRODUCTS)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peak = measure_peak(options.instruction_set, Path(folder))
        seconds, parts = profile(options, Path(folder))
    per_token = products_per_token(options.model)
    print(f"peak: {peak:.0f} billion products a second on one core")
    print(f"a token: {1e6 * seconds:.1f} us, {per_token / 1e6:.1f} million products in linear layers")
    for part, share in parts.most_common():
        print(f"{part:14} {share:6.1%}")
    for name, share in (
        ("linear layers", parts["products"] + parts["epilogues"]),
        ("products alone", parts["products"]),
    ):
        reached = per_token / (seconds * share) / 1e9
        print(f"{name}: {reached:.0f} billion products a second, {reached / peak:.0%} of the peak")


def products_per_token(model: str) -> int:
    """Return the products in a token's linear layers."""
    from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize
    from intel_quantized_embeddings.models.hub import find_model

    size = EncoderSize.from_config(find_model(model).config)
    assert size is not None
    return size.linear


def measure_peak(instruction_set: str, folder: Path) -> float:
    """Return billions of products a second on one core."""
    instructions, products, sums = PRODUCTS[instruction_set]
    numbers = [{"sum": number, "a": sums + number % 3, "b": sums + 3 + number % 3} for number in range(sums)]
    body = "\\n".join(line.format(**number) for number in numbers for line in instructions)
    used = ",".join(f'"xmm{number}"' for number in range(12))
    source = folder / "peak.cpp"
    source.write_text(PEAK.format(body=body, used=used, products=products * sums))
    # For the assembler alone: the loop around them runs anywhere.
    subprocess.run(["g++", "-O2", source, "-o", folder / "peak"], check=True)
    return float(subprocess.run([folder / "peak"], check=True, capture_output=True, text=True).stdout)


def profile(options: argparse.Namespace, folder: Path) -> tuple[float, collections.Counter[str]]:
    """Return the seconds that a token takes, and each part's share of the samples."""
    child = CHILD.format(model=options.model, isa=options.instruction_set, seconds=options.seconds)
    recorded = folder / "perf.data"
    measured = subprocess.Popen([sys.executable, "-W", "ignore", "-c", child], stdout=subprocess.PIPE, text=True)
    assert measured.stdout is not None
    measured.stdout.readline()
    command = ["perf", "record", "-q", "-F", "999", "-o", recorded, "-p", str(measured.pid), "--", "sleep"]
    subprocess.run([*command, str(options.seconds)], check=True)
    said = measured.communicate()[0]
    script = subprocess.run(
        ["perf", "script", "--no-demangle", "-i", recorded, "-F", "ip,sym,symoff,dso"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    counts: collections.Counter[str] = collections.Counter()
    offsets: collections.Counter[str] = collections.Counter()
    library, symbols = find_library()
    for line in script.splitlines():
        found = re.match(r"\s*\w+ (.+?)\+0x([0-9a-f]+) \((.*)\)", line)
        if found and found[3].endswith("libiqe.so") and found[1] in symbols:
            offsets[hex(symbols[found[1]] + int(found[2], 16))] += 1
        else:
            counts["Python"] += 1
    for offset, chain in chains(library, list(offsets)).items():
        counts[part_of(chain)] += offsets[offset]
    total = sum(counts.values())
    return float(said), collections.Counter({part: count / total for part, count in counts.items()})


def find_library() -> tuple[Path, dict[str, int]]:
    """Return the engine's library and where its functions begin."""
    from intel_quantized_embeddings.runtimes import native_library

    library = Path(native_library.__file__).with_name("libiqe.so")
    listed = subprocess.run(["nm", library], check=True, capture_output=True, text=True).stdout
    rows = (line.split(" ", 2) for line in listed.splitlines() if line[:1] != " ")
    return library, {name: int(address, 16) for address, _, name in rows}


def chains(library: Path, offsets: list[str]) -> dict[str, str]:
    """Return the functions that a place in the library is in, inlined ones first."""
    said = subprocess.run(
        ["addr2line", "-a", "-i", "-f", "-C", "-e", library],
        input="\n".join(offsets),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, str] = {}
    place = ""
    for line in said.splitlines():
        if line.startswith("0x"):
            place = hex(int(line, 16))
        else:
            found[place] = found.get(place, "") + line + "\n"
    return found


def part_of(chain: str) -> str:
    """Return the part that the innermost function of a chain, which one of them names, belongs to."""
    for line in chain.splitlines():
        for part, names in PARTS.items():
            if not line.startswith(os.sep) and re.search(names, line):
                return part
    return "other"


if __name__ == "__main__":
    main()
