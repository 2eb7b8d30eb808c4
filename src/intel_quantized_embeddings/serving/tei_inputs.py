"""How texts for the routes of text-embeddings-inference are tokenized: their prompt, and what of them is too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.prompts import DOCUMENT_PROMPTS
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.served import Running, ServedModel
from intel_quantized_embeddings.serving.tei_requests import WRONG, Cutting, Defaults

if TYPE_CHECKING:
    from intel_quantized_embeddings.models.tokenizer import TokenizedTexts
    from intel_quantized_embeddings.quantization.subject import Settings
    from intel_quantized_embeddings.serving.models import Models


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
    prompts = _prompts(running.model.settings)
    found = _found(prompts, prompt_name)
    if found is None:
        raise Refusal(
            WRONG, f"prompt_name={prompt_name!r} is not known here; there are {_named(prompts)}.", param="prompt_name"
        )
    return found


def require_default_prompt(models: Models, defaults: Defaults) -> None:
    """Check that the models which these routes ask have the default prompt; an OptionError names those they have."""
    name = defaults.default_prompt_name
    if name is None:
        return
    firsts = (models.first_embedder, models.first_sparse, models.first_cross_encoder)
    served: list[ServedModel[Any]] = [model for model in firsts if model is not None]
    # Pairs have no prompt; `/tokenize` has that of a cross-encoder where nothing else is served.
    for model in [model for model in served if not model.scores_pairs] or served:
        prompts = _prompts(model.read_settings())
        if _found(prompts, name) is None:
            raise OptionError(
                f"default_prompt_name={name!r} (--default-prompt-name) is not a prompt of {model.name}, which has "
                f"{_named(prompts)}: give one of them, or leave it out."
            )


def _prompts(settings: Settings) -> dict[str, str]:
    """Return the prompts of a model by their names; a cross-encoder has none, and both are empty."""
    prompts = {name: getattr(settings, f"{name}_instruction", "") for name in ("query", "document")}
    return prompts | dict(getattr(settings, "other_prompts", ()))


def _found(prompts: dict[str, str], name: str) -> str | None:
    # A folder may have the document's prompt under another name.
    return prompts.get("document" if name in DOCUMENT_PROMPTS and name not in prompts else name)


def _named(prompts: dict[str, str]) -> str:
    return ", ".join(map(repr, sorted(prompts)))
