"""How texts for the routes of text-embeddings-inference are tokenized: their prompt, and what of them is too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.prompts import DOCUMENT_PROMPTS
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.served import Running
from intel_quantized_embeddings.serving.tei_requests import WRONG, Cutting

if TYPE_CHECKING:
    from intel_quantized_embeddings.models.tokenizer import TokenizedTexts


def tokenizing(tokenize: Callable[..., TokenizedTexts], **options: Any) -> Callable[[Any], TokenizedTexts]:
    """Return a function that tokenizes with some options; options that the model's tokenizer lacks are refused."""

    def refusing(inputs: Any) -> TokenizedTexts:
        try:
            return tokenize(inputs, **options)
        except OptionError as exc:
            raise Refusal(WRONG, str(exc)) from exc

    return refusing


def too_long(cutting: Cutting, running: Running[Any], field: str) -> Callable[[int], Refusal] | None:
    """Return a function that makes the refusal of a text that is too long; None if it is to be cut."""
    if cutting.allowed:
        return None
    most = running.model.max_length
    return lambda place: Refusal(
        WRONG,
        f"`{field}` must have less than {most} tokens, and {place} has more. Send truncate: true, or start iqe serve "
        f"with --auto-truncate.",
        param=field,
    )


def prompt_named(running: Running[Any], prompt_name: str | None) -> str:
    """Return the prompt that a request names, "" if it names none; a Refusal tells which prompts the model has."""
    if prompt_name is None:
        return ""
    settings = running.model.settings
    # A cross-encoder has no prompts.
    prompts = {name: getattr(settings, f"{name}_instruction", "") for name in ("query", "document")}
    prompts |= dict(getattr(settings, "other_prompts", ()))
    # A folder may have the document's prompt under another name.
    found = prompts.get("document" if prompt_name in DOCUMENT_PROMPTS and prompt_name not in prompts else prompt_name)
    if found is None:
        raise Refusal(
            WRONG,
            f"prompt_name={prompt_name!r} is not known here; there are {', '.join(map(repr, sorted(prompts)))}.",
            param="prompt_name",
        )
    return found
