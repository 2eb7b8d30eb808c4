"""Build the tokenizer that transformers makes of a `tokenizer.json` and the files beside it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError
from intel_quantized_embeddings.models.tokenizer_files import CLASSES, SPECIAL_TOKENS, TokenizerClass, TokenizerFiles


def apply_tokenizer_files(tokenizer: Any, files: TokenizerFiles) -> Any:
    """Change a `tokenizer.json`, as the library opens it, in the way that transformers does by the files beside it."""
    kind = CLASSES.get(files.class_name or "")
    builds = kind is not None and files.own_class and _fits(tokenizer, kind, files)
    defaults = kind.special if kind and files.own_class and (builds or kind.ends is not None) else {}
    special = {name: token for name in SPECIAL_TOKENS if (token := _token(files, name, defaults)) is not None}
    if kind is not None and builds:
        tokenizer = _built(tokenizer, files, kind)
    elif kind is not None and not files.own_class and _has_berts_flags(tokenizer, kind):
        tokenizer.normalizer = _berts_normalizer(files, clean_text=tokenizer.normalizer.clean_text)
    _add_tokens(tokenizer, files, special)
    if kind is not None and builds:
        words = {name: str(token) for name, token in special.items()}
        if kind.model == "WordPiece":
            tokenizer.model.unk_token = words["unk_token"]
        if kind.ends is not None:
            tokenizer.post_processor = _post_processor(tokenizer, words, files, kind, kind.ends)
    if files.config.get("split_special_tokens"):
        tokenizer.encode_special_tokens = True
    return tokenizer


def _fits(tokenizer: Any, kind: TokenizerClass, files: TokenizerFiles) -> bool:
    """Return whether a `tokenizer.json` fits the class: by its kind of model and its special tokens' names."""
    needed = kind.ends or (["unk_token"] if kind.steps == "gemma" else [])
    unnamed = [kind.special[name] for name in needed if name not in files.config]
    if kind.steps == "llama" and any(b'"ByteLevel"' in part.__getstate__() for part in _steps_of(tokenizer)):
        return False
    return kind.model == type(tokenizer.model).__name__ and all(tokenizer.token_to_id(t) is not None for t in unnamed)


def _steps_of(tokenizer: Any) -> list[Any]:
    steps = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.post_processor, tokenizer.decoder)
    return [step for step in steps if step is not None]


def _built(tokenizer: Any, files: TokenizerFiles, kind: TokenizerClass) -> Any:
    """Build the steps before the vocabulary as the class does."""
    from tokenizers import Tokenizer

    built = Tokenizer(tokenizer.model)
    if files.config.get("added_tokens_decoder") is None:
        built.add_tokens([token for _, token in sorted(tokenizer.get_added_tokens_decoder().items())])
    if kind.ends is None:
        # Without any, the texts of a pair have token types of their own.
        built.post_processor = tokenizer.post_processor or _two_types()
    built.normalizer, built.pre_tokenizer = _STEPS[kind.steps](built, tokenizer, files)
    return built


def _berts_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import pre_tokenizers

    built.model.continuing_subword_prefix = "##"
    built.model.max_input_chars_per_word = 100
    return _berts_normalizer(files, clean_text=True), pre_tokenizers.BertPreTokenizer()


def _xlm_robertas_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import normalizers, pre_tokenizers

    charsmap = _charsmap(file.normalizer, files)
    scheme = "always" if _flag(files, "add_prefix_space", True) else "never"
    return (
        None if charsmap is None else normalizers.Precompiled(charsmap),
        pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
        ),
    )


def _gpt2s_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import pre_tokenizers

    _set_pairs(built.model, unknown=None, of_characters=False)
    return None, pre_tokenizers.ByteLevel(add_prefix_space=_flag(files, "add_prefix_space", False))


def _qwen2s_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import Regex, normalizers, pre_tokenizers

    _set_pairs(built.model, unknown=None, of_characters=False)
    spaced = _flag(files, "add_prefix_space", False)
    words = pre_tokenizers.Split(Regex(_QWENS_WORDS), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=spaced, use_regex=False)
    return normalizers.NFC(), pre_tokenizers.Sequence([words, as_bytes])


def _llamas_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import pre_tokenizers

    _set_pairs(built.model, unknown=None, of_characters=True)
    spaced = files.config.get("add_prefix_space") is None or _flag(files, "add_prefix_space", True)
    scheme = "never" if not spaced else "always" if _flag(files, "legacy", False) else "first"
    return None, pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)


def _gemmas_steps(built: Any, file: Any, files: TokenizerFiles) -> tuple[Any, Any]:
    from tokenizers import normalizers, pre_tokenizers

    _set_pairs(built.model, unknown=str(_token(files, "unk_token", {"unk_token": "<unk>"})), of_characters=True)
    return normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", behavior="merged_with_previous")


_STEPS = {
    "bert": _berts_steps,
    "xlm-roberta": _xlm_robertas_steps,
    "gpt2": _gpt2s_steps,
    "qwen2": _qwen2s_steps,
    "llama": _llamas_steps,
    "gemma": _gemmas_steps,
}

# Of the class in transformers.
_QWENS_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _set_pairs(model: Any, *, unknown: str | None, of_characters: bool) -> None:
    """Set how byte pairs are merged, of characters or of bytes, and what stands for a character without a token."""
    model.dropout = None
    model.ignore_merges = False
    model.continuing_subword_prefix = model.end_of_word_suffix = ""
    model.unk_token = unknown
    model.fuse_unk = model.byte_fallback = of_characters


def _two_types() -> Any:
    from tokenizers import processors

    return processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])


def _has_berts_flags(tokenizer: Any, kind: TokenizerClass) -> bool:
    return kind.model == "WordPiece" and type(tokenizer.normalizer).__name__ == "BertNormalizer"


def _berts_normalizer(files: TokenizerFiles, *, clean_text: bool) -> Any:
    from tokenizers import normalizers

    return normalizers.BertNormalizer(
        clean_text=clean_text,
        handle_chinese_chars=_flag(files, "tokenize_chinese_chars", True),
        strip_accents=None if files.config.get("strip_accents") is None else _flag(files, "strip_accents", False),
        lowercase=_flag(files, "do_lower_case", True),
    )


def _post_processor(
    tokenizer: Any, words: Mapping[str, str], files: TokenizerFiles, kind: TokenizerClass, ends: tuple[str, str]
) -> Any:
    """Put the class's special tokens around a text."""
    from tokenizers import processors

    start, end = (words[name] for name in ends)
    ids = [tokenizer.token_to_id(word) for word in (start, end)]
    for word, number in zip((start, end), ids, strict=True):
        if number is None:
            raise DamagedFilesError(
                f"{files.where} has {word!r} at the start or the end of a text, and tokenizer.json does not know it."
            )
    one = [f"{start}:0", "$A:0", f"{end}:0"]
    return processors.TemplateProcessing(
        single=one,
        pair=[*one, *[f"{end}:0"] * (kind.between - 1), f"$B:{kind.second_type}", f"{end}:{kind.second_type}"],
        special_tokens=[(start, ids[0]), (end, ids[1])],
    )


def _charsmap(normalizer: Any, files: TokenizerFiles) -> bytes | None:
    """Find the first map of characters that `tokenizer.json` normalizes by."""
    if normalizer is None:
        return None
    described = json.loads(normalizer.__getstate__())
    for step in described.get("normalizers", [described]):
        if step.get("type") == "Precompiled" and step.get("precompiled_charsmap"):
            try:
                return base64.b64decode(step["precompiled_charsmap"], validate=True)
            except (binascii.Error, TypeError, ValueError) as exc:
                raise DamagedFilesError(f"tokenizer.json beside {files.where} has a damaged charsmap: {exc}") from exc
    return None


def _flag(files: TokenizerFiles, key: str, default: bool) -> bool:
    value = files.config.get(key, default)
    if not isinstance(value, bool) and value is not None:
        raise DamagedFilesError(f"{files.where} has {key}={value!r}; true or false is expected.")
    return bool(value)


def _token(files: TokenizerFiles, name: str, defaults: Mapping[str, str]) -> Any:
    """Return a special token with the flags by which it is found in texts; None if there is none of this name."""
    value = files.config.get(name, defaults.get(name))
    return None if value is None else _added_token(value, files, special=True)


def _added_token(value: Any, files: TokenizerFiles, *, special: bool) -> Any:
    from tokenizers import AddedToken

    try:
        if isinstance(value, str):
            return AddedToken(value, special=special)
        known = {k: v for k, v in value.items() if k in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        return AddedToken(value["content"], **{"special": special, **known})
    except (TypeError, KeyError, AttributeError) as exc:
        raise DamagedFilesError(f"{files.where} has {value!r} for a token; its text or a table is expected.") from exc


def _add_tokens(tokenizer: Any, files: TokenizerFiles, special: Mapping[str, Any]) -> None:
    """Add the tokens that the files name and that `tokenizer.json` does not have, or finds by other flags.

    A special token for whose id the model has no vector is left out; transformers adds it, and fails on such a text.
    """
    listed = files.config.get("added_tokens_decoder") or {}
    extra = files.config.get("extra_special_tokens", files.config.get("additional_special_tokens")) or []
    if not isinstance(listed, dict) or not all(str(number).isdecimal() for number in listed):
        raise DamagedFilesError(f"{files.where}: added_tokens_decoder is not a table of ids and tokens.")
    if isinstance(extra, dict):
        extra = list(extra.values())
    if not isinstance(extra, list):
        raise DamagedFilesError(f"{files.where} has {extra!r} for extra special tokens; a list is expected.")
    own = [
        v for k, v in files.config.items() if k.endswith("_token") and k not in SPECIAL_TOKENS and isinstance(v, str)
    ]
    named = {str(token): token for token in special.values()}
    numbered = {int(number): _added_token(token, files, special=False) for number, token in listed.items()}
    for token, number in files.added_tokens.items():
        numbered[number] = named.get(token) or _added_token({"content": token}, files, special=False)
    present = {repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    new = [token for _, token in sorted(numbered.items()) if repr(token) not in present]
    tokenizer.add_tokens(new)
    known = {str(token) for token in tokenizer.get_added_tokens_decoder().values()}
    for token in [*named.values(), *(_added_token(value, files, special=True) for value in [*extra, *own])]:
        number = tokenizer.token_to_id(str(token))
        room = files.vocab_size is None or tokenizer.get_vocab_size() < files.vocab_size
        if str(token) not in known and (number is not None or room):
            tokenizer.add_tokens([token])
            known.add(str(token))
