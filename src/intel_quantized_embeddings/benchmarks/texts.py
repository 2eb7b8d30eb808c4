"""The texts of a benchmark: real ones, all different, the same for every system and every run."""

from __future__ import annotations

import ast
import hashlib
import json
import random
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.quantization.calibration import built_in_texts, read_texts, split

SEED = 20260
_FEWEST_WORDS = 3
_FEWEST_TEXTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Texts to encode, all different and shuffled, with their number by source and their SHA-256 in order."""

    texts: tuple[str, ...]
    sources: dict[str, int]
    digest: str


def read_corpus(files: Sequence[Path], *, count: int) -> Corpus:
    """Draw at most `count` texts from all files together, so that they are as mixed as the files are, and shuffle them.

    Files are as `read_texts` reads them. Without files, the texts are ones that every machine has: docstrings of
    Python's standard library, and the built-in texts that int8 models are not calibrated on. Too few are an
    OptionError.
    """
    sources = {name: read_texts(file) for name, file in source_names(files).items()} if files else _own_texts()
    chosen = choose(sources, count=count)
    texts = [text for listed in chosen.values() for text in listed]
    if len(texts) < _FEWEST_TEXTS:
        raise OptionError(
            f"--texts gives {len(texts)} different texts; at least {_FEWEST_TEXTS} are needed, and hundreds measure "
            f"better. Leave it out to use texts that are on every machine."
        )
    random.Random(f"{SEED} order").shuffle(texts)
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return Corpus(texts=tuple(texts), sources={name: len(its) for name, its in chosen.items()}, digest=digest)


def choose(sources: dict[str, list[str]], *, count: int, seed: int = SEED) -> dict[str, list[str]]:
    """Draw different texts from all sources together, each with the same probability."""
    source_of = {text: name for name, texts in sources.items() for text in texts if text.strip()}
    drawn = random.Random(f"{seed} corpus").sample(list(source_of), min(count, len(source_of)))
    return {name: [text for text in drawn if source_of[text] == name] for name in sources}


def source_names(files: Sequence[Path]) -> dict[str, Path]:
    """Return each file's name for the record, with its folder's name if two files share a name, each file once."""
    named: dict[str, Path] = {}
    distinct = list({file.expanduser().resolve(): file.expanduser() for file in files}.values())
    for number, file in enumerate(distinct, start=1):
        shared = sum(other.name == file.name for other in distinct) > 1
        name = f"{file.resolve().parent.name}/{file.name}" if shared else file.name
        named[name if name not in named else f"{name} ({number})"] = file
    return named


def open_tokenizer(file: Path) -> Any:
    """Open the model's tokenizer without padding and cutting, to count tokens and cut texts, not to be measured."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def texts_of_length(texts: Sequence[str], tokenizer: Any, *, tokens: int, count: int) -> list[str]:
    """Cut different texts of exactly so many tokens, special ones included, out of one long text of all.

    Raises:
        OptionError: There is not enough to cut from.
    """
    stream = " ".join(texts)
    offsets = tokenizer.encode(stream, add_special_tokens=False).offsets
    wanted = tokens - tokenizer.num_special_tokens_to_add(False)
    starts = [i for i, (at, _) in enumerate(offsets) if at == 0 or stream[at - 1].isspace() or stream[at].isspace()]
    starts = [i for i in starts if i + wanted <= len(offsets)]
    # Evenly spread places first, then those between.
    step = max(1, len(starts) // count)
    cut: dict[str, None] = {}
    for start in [*starts[::step], *starts]:
        text = _cut(stream, offsets, tokenizer, start=start, wanted=wanted, tokens=tokens)
        if text is not None:
            cut[text] = None
        if len(cut) == count:
            return list(cut)
    raise _too_few(len(cut), count, f"ones of {tokens} tokens")


def _cut(
    stream: str, offsets: Sequence[tuple[int, int]], tokenizer: Any, *, start: int, wanted: int, tokens: int
) -> str | None:
    """Return the text of `tokens` tokens that begins at a token; None if cutting tokenizes a word differently."""
    end = start + wanted
    for _ in range(5):
        if not start < end <= len(offsets):
            return None
        text = stream[offsets[start][0] : offsets[end - 1][1]].strip()
        missing = tokens - len(tokenizer.encode(text).ids)
        if missing == 0:
            return text
        end += missing
    return None


def query_texts(texts: Sequence[str], tokenizer: Any, *, count: int, longest: int) -> list[str]:
    """Cut different runs of words of 3 to `longest` tokens, special ones included, out of one long text of all.

    Every length comes about as often.

    Raises:
        OptionError: There is not enough to cut from.
    """
    random_ = random.Random(f"{SEED} queries")
    words = " ".join(texts).split()
    drawn: dict[str, None] = {}
    for _ in range(30 * count):
        start = random_.randrange(len(words))
        text = " ".join(words[start : start + longest])
        ids = tokenizer.encode(text)
        target = random_.randint(3, longest)
        if len(ids.ids) > target:
            end = max(offset[1] for offset in ids.offsets[: target - 1])  # one place is the closing token's
            whole = text[end : end + 1].isspace()
            text = text[:end] if whole else text[:end].rpartition(" ")[0]
        if text.strip() and 3 <= len(tokenizer.encode(text).ids) <= longest:
            drawn[text] = None
        if len(drawn) == count:
            return list(drawn)
    raise _too_few(len(drawn), count, f"queries of 3 to {longest} tokens")


def _too_few(found: int, wanted: int, what: str) -> OptionError:
    return OptionError(
        f"the texts give {found} different {what}; {wanted} are needed. Pass more with --texts, or leave --texts out."
    )


def _own_texts() -> dict[str, list[str]]:
    held_out = split(built_in_texts()).held_out
    return {
        "Python's docstrings": list(dict.fromkeys(_docstrings(Path(sysconfig.get_paths()["stdlib"])))),
        "built-in texts": [*held_out.documents, *held_out.queries],
    }


def _docstrings(folder: Path) -> Iterator[str]:
    """Return the docstrings of the modules directly in a folder, which are parsed, not imported."""
    for file in sorted(folder.glob("*.py")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings about escapes in other code
                tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and len(text.split()) >= _FEWEST_WORDS:
                    yield text
