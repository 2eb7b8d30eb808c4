"""Texts as a chat: the Jinja template of a model's tokenizer, rendered as transformers renders it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError, needs
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.tokenizer_files import CONFIG_FILE

TEMPLATE_FILE = "chat_template.jinja"
EXTRA = "templates"

# Forms of a message's content in sentence-transformers: the text itself, or a list of one part.
FLAT, STRUCTURED = "flat", "structured"

# Appears in templates that take parts, which a folder of transformers alone does not say.
_PARTS = ("content[", "content.", "type")


class PairTemplate:
    """Makes one text of a query and a document: messages of these roles, after the instruction's."""

    def __init__(
        self, source: str, *, instruction: str, in_parts: bool, special: Mapping[str, str], where: Path
    ) -> None:
        """Compile a template.

        Args:
            source: The template, in Jinja.
            instruction: The content of a message of the role "system" before the two; empty for none.
            in_parts: Whether a message's content is a list of one part instead of the text.
            special: The tokenizer's special tokens by name, which a template may use.
            where: The folder, for errors.

        Raises:
            MissingExtraError: jinja2 is not installed.
            DamagedFilesError: It is not a template.
            UnsupportedModelError: Its result lacks one of the pair's texts.
        """
        self._instruction, self._in_parts = instruction, in_parts
        self._render = _compiled(source, special, where, of="a pair of texts")
        one = self("a query", "a document")
        if one in (self("another", "a document"), self("a query", "another")):
            raise UnsupportedModelError(
                f"the chat template of {where} leaves out messages of the role 'query' or 'document', so that scores "
                f"would not depend on them. Write a {TEMPLATE_FILE} that holds both, as the model's card has it."
            )

    def __call__(self, query: str, document: str) -> str:
        """Return the text that the model reads.

        Raises:
            DamagedFilesError: The template fails.
        """
        messages = [{"role": "system", "content": self._instruction}] if self._instruction else []
        messages += [{"role": "query", "content": query}, {"role": "document", "content": document}]
        return self._render(messages, self._in_parts)


def refuse_other_chats(folder: Path, asked: str | None, *, special: Mapping[str, str]) -> None:
    """Check that a folder's chat template makes of a prompt and a text the one behind the other, and nothing more.

    Models that take images or sounds too get their texts as messages, of which a template makes one text. Tokens around
    it are the tokenizer's, as of any other text.

    Args:
        folder: The model's folder.
        asked: The format of its messages.
        special: The tokenizer's special tokens by name.

    Raises:
        MissingExtraError: jinja2 is not installed.
        UnsupportedModelError: The template makes something else.
        DamagedFilesError: It is not a template, or fails.
    """
    render = _compiled(read_template(folder), special, folder, of="a text")
    prompt, text = "a prompt: ", " a text,\n\n  of two  lines\t"
    user = {"role": "user", "content": text}
    for expected, messages in (
        (text, [user]),
        (prompt + text, [{"role": "system", "content": prompt}, user]),
    ):
        made = render(messages, asked != FLAT)
        if made != expected:
            raise UnsupportedModelError(
                f"the chat template of {folder} makes {made!r} of {expected!r}: words that it adds to texts are not "
                f"built in for embeddings."
            )


def _compiled(
    source: str, special: Mapping[str, str], where: Path, *, of: str
) -> Callable[[list[dict[str, str]], bool], str]:
    """Return the function that makes one text of messages, whose contents are lists of one part or the texts alone."""
    with needs("jinja2", extra=EXTRA, needed_for=f"A model that puts {of} into a chat template"):
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.filters["tojson"] = _as_json
    try:
        template = environment.from_string(source)
    except TemplateSyntaxError as exc:
        raise DamagedFilesError(f"the chat template of {where} is not one of Jinja: {exc}") from exc

    def render(messages: list[dict[str, str]], in_parts: bool) -> str:
        given: list[dict[str, Any]] = [
            {**message, "content": [{"type": "text", "text": message["content"]}]} if in_parts else dict(message)
            for message in messages
        ]
        try:
            return template.render(messages=given, tools=None, documents=None, add_generation_prompt=False, **special)
        except Exception as exc:  # a template may fail as any program may
            raise DamagedFilesError(f"the chat template of {where} fails on {of}: {exc}") from exc

    return render


def _refuse(message: str) -> None:
    raise ValueError(message)


def _as_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write a value as JSON; Jinja's own filter of the name spells what HTML takes for markup, and sorts keys."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def read_template(folder: Path) -> str:
    """Return a folder's chat template, the default one of several, empty if it has none.

    Raises:
        DamagedFilesError: It is not a text.
    """
    file = folder / TEMPLATE_FILE
    if file.is_file():
        try:
            return file.read_text("utf-8")
        except ValueError as exc:
            raise DamagedFilesError(f"{file} is not UTF-8: {exc}") from exc
    where = folder / CONFIG_FILE
    held = read_json(where).get("chat_template") or ""
    if isinstance(held, list):
        named = [one for one in held if isinstance(one, dict) and one.get("name") == "default"]
        held = named[0].get("template") if named else ""
    if not isinstance(held, str):
        raise DamagedFilesError(f"{where}: chat_template is {held!r}; a text is expected.")
    return held


def asked_format(folder: Path, transformer: Mapping[str, Any], *, has_modules: bool) -> str | None:
    """Return the format of the chat that a folder asks for, `FLAT` or `STRUCTURED`; None if it asks for none.

    sentence-transformers writes it into `sentence_bert_config.json`. For a folder of transformers alone it puts pairs
    into any template that is there.

    Args:
        folder: The model's folder.
        transformer: The result of `read_transformer_config`.
        has_modules: Whether there is a `modules.json`.

    Raises:
        UnsupportedModelError: There is no template, or its format is not known.
    """
    modalities = transformer.get("modality_config")
    if modalities is not None:
        if "message" not in modalities:
            return None
        if not read_template(folder):
            raise UnsupportedModelError(
                f"{folder} asks for pairs in a chat template and has none. Write a {TEMPLATE_FILE} into it."
            )
        return str(modalities["message"].get("format", STRUCTURED))
    template = "" if has_modules else read_template(folder)
    if not template:
        return None
    if any(part in template for part in _PARTS):
        raise UnsupportedModelError(
            f"{folder} has a chat template, and nothing says whether it takes texts or lists of their parts. Open the "
            f"model once with sentence-transformers' CrossEncoder and save it with save_pretrained, which says it."
        )
    return FLAT
