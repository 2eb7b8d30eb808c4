"""The state that all routes share: models, the gate, limits; and the way from a request's texts to rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from intel_quantized_embeddings.errors import InvalidTextError
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts
from intel_quantized_embeddings.serving.api import Answer
from intel_quantized_embeddings.serving.gate import Gate
from intel_quantized_embeddings.serving.limits import Limits, Residency
from intel_quantized_embeddings.serving.metrics import Metrics
from intel_quantized_embeddings.serving.models import Models
from intel_quantized_embeddings.serving.refusals import Refusal
from intel_quantized_embeddings.serving.served import Running, ServedModel
from intel_quantized_embeddings.serving.tei_requests import Defaults

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Result = TypeVar("_Result")
_Input = TypeVar("_Input", str, tuple[str, str])

# Number of inputs of a request that are tokenized before another request has its turn.
_TOKENIZED_AT_ONCE = 64
# Characters a token; texts in European languages have 4 to 5.
_MOST_CHARACTERS_A_TOKEN = 8
# nginx's status in its log for a client that closed the connection before the answer.
_CLIENT_GONE = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The result for a request's texts or pairs.

    Attributes:
        rows: Vectors, or scores before their activation, shape (n_inputs, numbers); for a sparse model as
            `Batcher.encode` returns them.
        tokens: The number of tokens of all inputs.
        cut: The number of inputs that were too long and cut.
    """

    rows: NDArray[Any]
    tokens: int
    cut: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer about texts that were cut."""
        return {"x-cut-texts": str(self.cut)} if self.cut else {}


class Service:
    """The state that routes share.

    Args:
        models: The models.
        limits: The limits.
        tei_defaults: Defaults of requests to text-embeddings-inference's routes.
        residency: The rules by which models are kept in memory.
    """

    # For tokenizing and writing answers. Two threads, so that a long text does not block all others.
    tokenizing_threads = 2

    def __init__(
        self,
        models: Sequence[ServedModel[Any]],
        *,
        limits: Limits,
        tei_defaults: Defaults | None = None,
        residency: Residency | None = None,
    ) -> None:
        self.limits = limits
        self.tei_defaults = tei_defaults or Defaults()
        self.metrics = Metrics()
        self.models = Models(models, limits=limits, residency=residency or Residency(), metrics=self.metrics)
        self._gate = Gate(limits, waiting_seconds=lambda: self.models.waiting_seconds)
        self.metrics.watch_requests(lambda: self._gate.requests)
        self._texts_pool = ThreadPoolExecutor(self.tokenizing_threads, thread_name_prefix="texts")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve from here on, until told to stop."""
        await self.models.start()
        try:
            yield
        finally:
            await self.models.stop()
            self._texts_pool.shutdown(cancel_futures=True)

    async def answered(self, request: Request, answer: Callable[[Service, bytes], Awaitable[Answer]]) -> Answer:
        """Accept a request within the limits, count it, and answer it.

        Raises:
            Refusal: The request is refused.
        """
        started = time.perf_counter()
        status = 500
        try:
            answered = await self._within_time(self._answer(request, answer))
            status = answered.status
            return answered
        except Refusal as exc:
            status = exc.status
            raise
        except asyncio.CancelledError as exc:
            # Only the server cancels requests, at the end of the time to stop; this answer is still sent.
            status = 503
            raise Refusal(503, "the service is stopping, and had no more time for this request.") from exc
        except ClientDisconnect:
            status = _CLIENT_GONE
            return Answer(body=b"", status=_CLIENT_GONE)
        finally:
            self.metrics.note_request(status=status, seconds=time.perf_counter() - started)

    async def encoded(
        self,
        running: Running[Any],
        inputs: Sequence[_Input],
        tokenize: Callable[[Sequence[_Input]], TokenizedTexts],
        *,
        too_long: Callable[[int], Refusal] | None = None,
    ) -> Encoded:
        """Encode a request's texts, or score its pairs.

        Args:
            running: The model.
            inputs: At least one text or pair.
            tokenize: Makes token ids of some inputs.
            too_long: Makes the refusal of an input, by its place, that is too long; None cuts it.

        Raises:
            Refusal: Too much waits already, or an input is too long, or has no token.
        """
        batcher = running.batcher
        # Checked twice: before, to save tokenizing refused inputs, and after, when more may wait.
        self._gate.check_waiting(batcher, _fewest_tokens(inputs, max_length=running.model.max_length))
        token_ids: list[list[int]] = []
        cut = 0
        for start in range(0, len(inputs), _TOKENIZED_AT_ONCE):
            some = inputs[start : start + _TOKENIZED_AT_ONCE]
            try:
                tokenized = await self.off_the_loop(partial(tokenize, some))
            except InvalidTextError as exc:
                raise Refusal(400, f"of those from {start} on, {exc}" if start else str(exc)) from exc
            if tokenized.truncated and too_long is not None:
                raise too_long(start + min(tokenized.truncated))
            token_ids += tokenized.token_ids
            cut += len(tokenized.truncated)
        self._gate.check_waiting(batcher, sum(map(batcher.tokens, token_ids)))
        rows = await batcher.encode(token_ids)
        tokens = sum(map(len, token_ids))
        batcher.metrics.note_texts(texts=len(rows), tokens=tokens, cut=cut)
        return Encoded(rows=rows, tokens=tokens, cut=cut)

    async def off_the_loop(self, work: Callable[[], _Result]) -> _Result:
        """Run a function that takes a while beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._texts_pool, work)

    async def _within_time(self, answer: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            return await asyncio.wait_for(answer, self.limits.request_seconds)
        except asyncio.TimeoutError as exc:
            raise Refusal(
                503,
                f"the request took longer than {self.limits.request_seconds:g} s; send fewer texts at a time.",
                code="request_timeout",
            ) from exc

    async def _answer(self, request: Request, answer: Callable[[Service, bytes], Awaitable[Answer]]) -> Answer:
        """Return the answer; it is given up when the client goes away."""
        async with self._gate.entered(request.stream()) as body:
            work = asyncio.ensure_future(answer(self, body))
            gone = asyncio.ensure_future(_gone(request))
            try:
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                raise ClientDisconnect
            finally:
                work.cancel()
                gone.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _fewest_tokens(inputs: Sequence[_Input], *, max_length: int) -> int:
    """Estimate the fewest tokens that inputs have, before they are tokenized."""
    sizes = (len(one) if isinstance(one, str) else len(one[0]) + len(one[1]) for one in inputs)
    return sum(min(size // _MOST_CHARACTERS_A_TOKEN + 1, max_length) for size in sizes)
