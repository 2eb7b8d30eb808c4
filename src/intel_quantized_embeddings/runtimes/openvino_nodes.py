"""Constants of OpenVINO graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from openvino import opset15 as ops

if TYPE_CHECKING:
    from numpy.typing import NDArray

Node: TypeAlias = Any  # openvino.Node has no usable stubs for operator overloading


def constant(array: NDArray[np.float32]) -> Node:
    """Return an array as a constant."""
    return ops.constant(array, dtype=np.float32)


def number(value: float) -> Node:
    """Return a floating-point number as a constant."""
    return ops.constant(value, dtype=np.float32)


def integer(value: int) -> Node:
    """Return an integer as a constant, such as an axis."""
    return ops.constant(value, dtype=np.int64)


def integers(*values: int) -> Node:
    """Return integers as a constant, such as axes."""
    return ops.constant(np.array(values), dtype=np.int64)
