"""Read the files beside `tokenizer.json` as transformers 5 does.

`tokenizer_config.json` names a class. The classes of the built-in architectures do not take `tokenizer.json` as it is:
they keep its vocabulary and build the other steps from their own arguments, which are that file's other keys. Under
any other class, `PreTrainedTokenizerFast` among them, `tokenizer.json` counts as it is. CamemBERT's counts as it is
too: transformers 5.5 and 5.24 build different things around its vocabulary, and transformers 4 builds nothing. So does
a byte-level file under Llama's class, as in 5.24: Llama 3's are called so, and the class is made for Llama 2's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.config_file import read_config

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# Files that are read beside tokenizer.json and copied with it.
BESIDE = (CONFIG_FILE, "special_tokens_map.json", "added_tokens.json")

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_SIDES = ("right", "left")
_NAMES_WITHOUT_TYPES = ("input_ids", "attention_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """A tokenizer class of transformers that builds its tokenizer from a vocabulary.

    Attributes:
        model: The kind of `tokenizer.json`'s model that it takes.
        steps: The name of the steps before the vocabulary, in `tokenizer_building.py`.
        special: The special tokens if no file names them.
        ends: The two special tokens before and behind a text; None for those that `tokenizer.json` has.
        between: How often the latter stands between the texts of a pair.
        second_type: The token type of a pair's second text.
        input_names: The model's inputs if no file names them.
    """

    model: str
    steps: str
    special: Mapping[str, str]
    ends: tuple[str, str] | None = ("cls_token", "sep_token")
    between: int = 2
    second_type: int = 0
    input_names: tuple[str, ...] = _NAMES_WITHOUT_TYPES


_BERTS = {name: f"[{name[:-6].upper()}]" for name in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")}
_ROBERTAS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_BERT = TokenizerClass(
    model="WordPiece",
    steps="bert",
    special=_BERTS,
    between=1,
    second_type=1,
    input_names=("input_ids", "token_type_ids", "attention_mask"),
)
CLASSES = {
    "BertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "DistilBertTokenizer": TokenizerClass(model="WordPiece", steps="bert", special=_BERTS, between=1, second_type=1),
    "MPNetTokenizer": TokenizerClass(
        model="WordPiece", steps="bert", special={**_ROBERTAS, "unk_token": "[UNK]"}, second_type=1
    ),
    "RobertaTokenizer": TokenizerClass(model="BPE", steps="gpt2", special=_ROBERTAS),
    "XLMRobertaTokenizer": TokenizerClass(
        model="Unigram", steps="xlm-roberta", special=_ROBERTAS, ends=("bos_token", "eos_token")
    ),
    "CamembertTokenizer": TokenizerClass(model="", steps="", special=_ROBERTAS),
    "GPT2Tokenizer": TokenizerClass(
        model="BPE",
        steps="gpt2",
        special=dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>"),
        ends=None,
    ),
    "Qwen2Tokenizer": TokenizerClass(
        model="BPE",
        steps="qwen2",
        special=dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>"),
        ends=None,
    ),
    "LlamaTokenizer": TokenizerClass(
        model="BPE", steps="llama", special={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}, ends=None
    ),
    "GemmaTokenizer": TokenizerClass(
        model="BPE",
        steps="gemma",
        special={f"{name}_token": f"<{name}>" for name in ("unk", "bos", "eos", "pad", "mask")},
        ends=None,
    ),
}

# The class of each architecture, for a tokenizer_config.json that names none. If it names another architecture's class,
# as every DistilBERT's and Electra's does, versions differ: 4.57 obeys BERT's flags and keeps the rest of
# tokenizer.json, 5.5 keeps all of it, 5.24 builds that other class's tokenizer. This package does what two of the three
# do.
_CLASS_OF = {
    **dict.fromkeys(
        (
            "bert",
            "distilbert",
            "electra",
            "convbert",
            "ernie",
            "layoutlm",
            "megatron-bert",
            "nomic_bert",
            "squeezebert",
        ),
        "BertTokenizer",
    ),
    "mpnet": "MPNetTokenizer",
    **dict.fromkeys(("roberta", "roberta-prelayernorm", "longformer", "data2vec-text"), "RobertaTokenizer"),
    **dict.fromkeys(("xlm-roberta", "xmod", "jina_embeddings_v3"), "XLMRobertaTokenizer"),
    "camembert": "CamembertTokenizer",
    "gemma3_text": "GemmaTokenizer",
    "qwen3": "Qwen2Tokenizer",
}
# Those without a class of their own, for which transformers takes the class of a decoder that the file names. It passes
# such a name over in models of other architectures, as in Mistral's.
_ANY_DECODERS_CLASS = (None, "llama", "eurobert", "gte", "new")
# For these transformers 5 takes tokenizer.json as it is, for any class the file beside it names.
_WITHOUT_CLASS = ("modernbert",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFiles:
    """The content of the files beside a `tokenizer.json`.

    Attributes:
        config: `tokenizer_config.json` with the special tokens of `special_tokens_map.json`.
        added_tokens: The tokens of `added_tokens.json`, if the configuration does not list them itself.
        class_name: The class that transformers takes, None if it takes `tokenizer.json` as it is.
        own_class: Whether it is the architecture's class, which builds its tokenizer from the vocabulary. Of another
            class only BERT's flags count.
        token_types: Whether a pair's second text has another token type.
        truncation_side: The end at which long texts are cut, None if `tokenizer.json` decides.
        vocab_size: Number of ids for which the model has vectors, None if `config.json` does not give it.
        where: The configuration's path, for errors.
    """

    config: Mapping[str, Any]
    added_tokens: Mapping[str, int]
    class_name: str | None
    own_class: bool
    token_types: bool
    truncation_side: str | None
    vocab_size: int | None
    where: Path


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the files beside a folder's `tokenizer.json`; code that comes with the model is refused."""
    where = folder / CONFIG_FILE
    config = read_json(where)
    if mapped := config.get("auto_map"):
        own = mapped.get("AutoTokenizer") if isinstance(mapped, dict) else mapped
        if own:
            raise UnsupportedModelError(
                f"{where} has auto_map={mapped!r}: a tokenizer of the repository's own code, which is not run here. If "
                f"tokenizer.json gives the same ids without it, take the key out."
            )
    added: dict[str, Any] = {}
    if "added_tokens_decoder" not in config:  # transformers before 4.34 kept added tokens in files of their own
        config |= read_json(folder / "special_tokens_map.json")
        added = read_json(folder / "added_tokens.json")
        if not all(isinstance(number, int) for number in added.values()):
            raise DamagedFilesError(f"{folder / 'added_tokens.json'}: a table of tokens and their ids is expected.")
    model = read_config(folder)
    class_name, own_class = _class_name(config, model, where)
    own_names = CLASSES[class_name].input_names if class_name else _NAMES_WITHOUT_TYPES
    names = config.get("model_input_names", own_names)
    if not isinstance(names, (list, tuple)):
        raise DamagedFilesError(f"{where}: model_input_names is {names!r}; a list of names is expected.")
    for side in ("truncation_side", "padding_side"):
        if config.get(side, "right") not in _SIDES:
            raise DamagedFilesError(f"{where} has {side}={config[side]!r}; it is 'right' or 'left'.")
    return TokenizerFiles(
        config=config,
        added_tokens=added,
        class_name=class_name,
        own_class=own_class,
        token_types="token_type_ids" in names,
        truncation_side=config.get("truncation_side"),
        vocab_size=model["vocab_size"] if isinstance(model.get("vocab_size"), int) else None,
        where=where,
    )


def special_tokens(folder: Path) -> dict[str, str]:
    """Return the special tokens that the files beside a `tokenizer.json` name."""
    config = read_tokenizer_files(folder).config
    held = {name: config.get(name) for name in SPECIAL_TOKENS}
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in held.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _class_name(config: Mapping[str, Any], model: Mapping[str, Any], where: Path) -> tuple[str | None, bool]:
    """Return the class that transformers takes, and whether it is the architecture's own."""
    asked = config.get("tokenizer_class")
    model_type = model.get("model_type")
    if model_type in _WITHOUT_CLASS:
        return None, False
    own = _CLASS_OF.get(model_type) if isinstance(model_type, str) else None
    if asked is None:
        asked = model.get("tokenizer_class") or own
        own = None
    if asked is None:
        return None, False
    if not isinstance(asked, str):
        raise DamagedFilesError(f"{where} has tokenizer_class={asked!r}; the name of a class is expected.")
    asked = asked.removesuffix("Fast")
    if asked not in CLASSES:
        return None, False
    is_its_own = isinstance(model_type, str) and asked == _CLASS_OF.get(model_type)
    if CLASSES[asked].ends is None and not is_its_own and model_type not in _ANY_DECODERS_CLASS:
        return None, False
    return asked, own in (None, asked)
