"""Texts -> token ids, by the model's own `tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.files.json_files import read_text
from intel_quantized_embeddings.models.config_file import read_config
from intel_quantized_embeddings.models.long_texts import LongTexts
from intel_quantized_embeddings.models.pair_template import PairTemplate
from intel_quantized_embeddings.models.tokenizer_building import apply_tokenizer_files
from intel_quantized_embeddings.models.tokenizer_files import read_tokenizer_files
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.process.tokenizer_threads import refuse_lost_threads
from intel_quantized_embeddings.texts import check_instruction, check_texts


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of several texts.

    Attributes:
        token_ids: A list for each text, special tokens included, at its natural length.
        truncated: Places of the texts that were too long and were cut.
    """

    token_ids: list[list[int]]
    truncated: set[int]


class Tokenizer:
    """A model's tokenizer, cutting at `max_length` and never padding.

    `tokenizer.json` may carry padding and truncation of its own (all-MiniLM-L6-v2's pads to 128 and
    cuts there); both are overridden, but for the end that is cut. The files beside it change it as they do in
    transformers.
    """

    _other_side: Tokenizer | None = None

    def __init__(
        self,
        file: Path,
        *,
        max_length: int,
        lowercase: bool = False,
        pair_template: PairTemplate | None = None,
        special: bool = True,
    ) -> None:
        """Open a `tokenizer.json`.

        Args:
            file: The file.
            max_length: Longest input in tokens.
            lowercase: Whether texts are lowercased first.
            pair_template: The chat template that pairs go through.
            special: Whether special tokens are put around a text.
        """
        with importing():
            from tokenizers import Tokenizer as FastTokenizer
            from tokenizers import normalizers

        refuse_lost_threads()
        if not file.is_file():
            raise ModelFilesError(
                f"{file} is not there. Write it with transformers: "
                f"AutoTokenizer.from_pretrained({str(file.parent)!r}).save_pretrained({str(file.parent)!r})"
            )
        self._file = file
        self._special = special
        beside = read_tokenizer_files(file.parent)
        self._token_types = beside.token_types
        with self._tokenizer_errors():
            self._tokenizer = FastTokenizer.from_str(read_text(file))
            side = beside.truncation_side or (self._tokenizer.truncation or {}).get("direction", "right")
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            self._tokenizer = apply_tokenizer_files(self._tokenizer, beside)
            if lowercase:
                own = self._tokenizer.normalizer
                first = normalizers.Lowercase()
                self._tokenizer.normalizer = normalizers.Sequence([first, own]) if own is not None else first
            self._refuse_token_types()
            self._pair_template = pair_template
            self._tail = [] if pair_template is None else self._tail_of(pair_template)
            self._tokenizer.enable_truncation(max_length, direction=side)
            self._long_texts = LongTexts(self._tokenizer, max_length=max_length)
        known = read_config(self._file.parent).get("vocab_size")
        self._known_ids = known if isinstance(known, int) else None

    def encode(self, texts: Sequence[str], *, instruction: str = "") -> TokenizedTexts:
        """Tokenize texts, each after `instruction`, without any other change.

        Raises:
            InvalidTextError: An item is not a string, or a string with no UTF-8 form.
            DamagedFilesError: The file's rules fail on them.
            OptionError: The instruction has no UTF-8 form; or, in a forked process, TOKENIZERS_PARALLELISM asks for
                threads that can't run.
        """
        check_instruction(instruction)
        check_texts(texts)
        cut = self._long_texts.cut
        encodings = self._encode_batch([cut(instruction + text) for text in texts], special_tokens=self._special)
        return TokenizedTexts(
            token_ids=[self._known(encoding.ids) for encoding in encodings], truncated=_truncated(encodings)
        )

    @property
    def special_tokens(self) -> int:
        """The number of special tokens that are put around one text."""
        number: int = self._tokenizer.num_special_tokens_to_add(False) if self._special else 0
        return number

    @cached_property
    def uncut(self) -> Any:
        """The same tokenizer as an object of the tokenizers library, without cutting."""
        uncut = self._copied()
        uncut.no_truncation()
        return uncut

    def cutting(self, side: str) -> Tokenizer:
        """Return the same tokenizer, cutting long texts at one side, "left" or "right".

        Raises:
            OptionError: `side` is another word, or "left" for pairs in a chat template, which are cut at their end.
        """
        if side not in ("left", "right"):
            raise OptionError(f"cut={side!r} is not allowed; it is 'left', 'right' or None.")
        truncation = self._tokenizer.truncation or {}
        if truncation.get("direction") == side:
            return self
        if self._pair_template is not None:
            raise OptionError(f"cut={side!r} is not allowed; what this model's chat template makes is cut at its end.")
        if self._other_side is None:
            length = truncation["max_length"]
            other = copy(self)
            other._tokenizer, other._other_side = self._copied(), self
            other._tokenizer.enable_truncation(length, direction=side)
            other._long_texts = LongTexts(other._tokenizer, max_length=length)
            self._other_side = other  # assigned when complete, because other threads use it at once
        return self._other_side

    def counter(self) -> Callable[[str], int]:
        """Return a function that counts a text's tokens without the special ones and without cutting."""
        uncut = self.uncut

        def count(text: str) -> int:
            return len(uncut.encode(text, add_special_tokens=False).ids)

        return count

    def has_overlong_word(self) -> Callable[[str], bool] | None:
        """Return a function that finds texts with a word that is too long for the tokenizer, which makes it unknown.

        WordPiece has such a limit, usually 100 characters; None for tokenizers without a limit.
        """
        own = json.loads(self._tokenizer.to_str())["model"]
        limit = own.get("max_input_chars_per_word") if own.get("type", "WordPiece") == "WordPiece" else None
        if limit is None:
            return None
        normalizer, pre_tokenizer = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer

        def has_one(text: str) -> bool:
            if len(text) <= limit and text.isascii():  # normalizing may make a word longer
                return False
            normal = normalizer.normalize_str(text) if normalizer is not None else text
            words = pre_tokenizer.pre_tokenize_str(normal) if pre_tokenizer is not None else [(normal, (0, 0))]
            return any(len(word) > limit for word, _ in words)

        return has_one

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], *, second_text: int) -> TokenizedTexts:
        """Tokenize pairs by the tokenizer's own template; of a pair that is too long, the longer text is cut.

        With a chat template, by that template: a long chat is cut at its end, and the tokens that end every chat
        replace the last ones.

        Args:
            pairs: Two strings each, with a UTF-8 form.
            second_text: Number added to the ids of a pair's second text, if the files beside `tokenizer.json` say that
                the model takes token types.
        """
        if self._pair_template is not None:
            return self._encode_chats(pairs, self._pair_template)
        if not self._token_types:
            second_text = 0
        long = {place for place, pair in enumerate(pairs) if any(map(self._long_texts.is_long, pair))}
        rows, truncated = [], set()
        short = iter(self._encode_batch([tuple(pair) for place, pair in enumerate(pairs) if place not in long]))
        for place, (first, second) in enumerate(pairs):
            if place in long:
                with self._tokenizer_errors():
                    ids, types, was_cut = self._long_texts.encode_pair(first, second)
            else:
                encoding = next(short)
                ids, types, was_cut = encoding.ids, encoding.type_ids, bool(encoding.overflowing)
            self._known(ids)
            rows.append([token + second_text * text for token, text in zip(ids, types, strict=True)])
            if was_cut:
                truncated.add(place)
        return TokenizedTexts(token_ids=rows, truncated=truncated)

    def _encode_chats(self, pairs: Sequence[tuple[str, str]], template: PairTemplate) -> TokenizedTexts:
        cut = self._long_texts.cut
        chats = [template(cut(first), cut(second)) for first, second in pairs]
        encodings = self._encode_batch(chats, special_tokens=False)
        rows, truncated = [], _truncated(encodings)
        for place, encoding in enumerate(encodings):
            ids = self._known(encoding.ids)
            kept = min(len(self._tail), len(ids)) if place in truncated else 0
            rows.append(ids[: len(ids) - kept] + self._tail[len(self._tail) - kept :])
        return TokenizedTexts(token_ids=rows, truncated=truncated)

    def _tail_of(self, template: PairTemplate) -> list[int]:
        """Return the tokens that end every chat: the common end of two chats whose texts have no token in common."""
        one, other = (
            self._tokenizer.encode(template(text, text), add_special_tokens=False).ids for text in ("0", "1 2 3 4")
        )
        count = 0
        while count < min(len(one), len(other)) and one[-count - 1] == other[-count - 1]:
            count += 1
        return [] if count == min(len(one), len(other)) else one[len(one) - count :]

    def _encode_batch(self, inputs: list[Any], *, special_tokens: bool = True) -> list[Any]:
        refuse_lost_threads()
        with self._tokenizer_errors():
            encodings: list[Any] = self._tokenizer.encode_batch_fast(inputs, add_special_tokens=special_tokens)
        return encodings

    def _copied(self) -> Any:
        copied = self._tokenizer.from_str(self._tokenizer.to_str())
        copied.encode_special_tokens = self._tokenizer.encode_special_tokens  # a file does not have this kind
        return copied

    def _refuse_token_types(self) -> None:
        """Check that a single text gets the first token type, the only one that models here have for it."""
        if self._token_types and any(self._tokenizer.encode("").type_ids):
            raise UnsupportedModelError(
                f"{self._file} gives a text alone other token types than 0, which is not built in. If the model has "
                f"none, take token_type_ids out of model_input_names in the tokenizer_config.json beside it."
            )

    def _known(self, ids: list[int]) -> list[int]:
        """Return ids after checking that the model has them all; comparing vocabularies would take far longer."""
        largest = max(ids, default=0)
        if self._known_ids is not None and largest >= self._known_ids:
            raise DamagedFilesError(
                f"{self._file} gives {self._tokenizer.id_to_token(largest)!r} the id {largest}, and the config.json "
                f"beside it says vocab_size={self._known_ids}: they are not of one model."
            )
        return ids

    @contextmanager
    def _tokenizer_errors(self) -> Iterator[None]:
        """Map errors of the tokenizers library, which reports a faulty file as a plain Exception or a panic of Rust."""
        try:
            yield
        except BaseException as exc:
            if type(exc) is not Exception and type(exc).__name__ != "PanicException":
                raise
            raise DamagedFilesError(
                f"{self._file} is not a tokenizer of the tokenizers library: {exc}. Version {_library_version()} is "
                f"installed here; if a later one wrote the file, install that."
            ) from exc


def _library_version() -> str:
    import tokenizers

    return tokenizers.__version__


def _truncated(encodings: Sequence[Any]) -> set[int]:
    return {place for place, encoding in enumerate(encodings) if encoding.overflowing}
