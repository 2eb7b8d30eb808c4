"""Find out whether the tokenizers library can use threads in this process, or would wait for its parent's threads.

The library starts its threads at the first call with several texts, and does not show whether they were started. So one
call is tried in a thread that may hang.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError

# Values of TOKENIZERS_PARALLELISM that the library takes for "no"; all others mean "yes".
_NO_THREADS = ("", "off", "false", "f", "no", "n", "0")

# Existing threads answer in a millisecond. On a machine too busy for that, new ones have been started by then.
_PATIENCE_SECONDS = 0.3
_LONGEST_WAIT_SECONDS = 10.0

# Processes in which the threads worked; a forked one starts with its parent's set.
_fine_in: set[int] = set()


def refuse_lost_threads() -> None:
    """Check that the threads that tokenizing would use belong to this process.

    Raises:
        OptionError: TOKENIZERS_PARALLELISM asks for threads, and they belong to the parent.
    """
    told = os.environ.get("TOKENIZERS_PARALLELISM", "")
    if told.lower() in _NO_THREADS or os.getpid() in _fine_in:
        return
    if not _threads_work():
        raise OptionError(
            f"TOKENIZERS_PARALLELISM={told!r} asks for threads that did not come along into this forked process: "
            f"tokenizing would wait for them for ever. Unset it, or start processes by spawning."
        )
    _fine_in.add(os.getpid())


def _threads_work() -> bool:
    """Return whether a call that uses threads returns. If it does not, a thread waits until the process ends."""
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    before, begun = _threads(), threading.Event()

    def call() -> None:
        begun.set()
        tokenizer.encode_batch(["a"] * 64)

    trial = threading.Thread(target=call, name="tokenizers", daemon=True)
    trial.start()
    begun.wait()
    trial.join(_PATIENCE_SECONDS)
    if trial.is_alive() and _threads() - before > 1:  # threads beside the trial's own are the library's
        trial.join(_LONGEST_WAIT_SECONDS)
    return not trial.is_alive()


def _threads() -> int:
    """Return the number of threads of this process, of any library; 0 if the system does not say."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0
