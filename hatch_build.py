"""The wheel's build hook: compiles the native engine and puts it in, where there is one for the platform."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from native import build as native
else:  # by path: a build backend does not find modules of the project
    _spec = importlib.util.spec_from_file_location("iqe_native_build", Path(__file__).parent / "native" / "build.py")
    native = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(native)


class NativeBuildHook(BuildHookInterface[Any]):
    """Adds the library and its platform to a wheel, or puts the library beside the sources of an editable install."""

    def dependencies(self) -> list[str]:
        plan = _plan()
        # Nothing to unpack where several environments install one checkout.
        return [] if plan is None or native.is_current(plan) else native.requirements(plan)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        plan = _plan()
        if plan is None:
            self.app.display_warning("No native engine for this platform: the wheel is without that runtime.")
            return
        if version == "editable" and plan.target != native.host_target():
            raise native.BuildError(f"An editable install runs here, not on {plan.target}: unset IQE_TARGET.")
        built = native.build(plan, work=self._work(plan))
        if version == "editable":
            native.install(built.library, native.ROOT / native.IN_PLACE)
            return
        build_data["force_include"][str(built.library)] = native.IN_PLACE.relative_to("src").as_posix()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{native.platform_tag(plan)}"

    def _work(self, plan: native.Plan) -> Path:
        """Return the checkout's folder for objects, or one that goes with this process where that can't be written."""
        if native.is_current(plan) or os.access(self.root, os.W_OK):
            return native.ROOT / native.WORK
        self._temporary = tempfile.TemporaryDirectory(prefix="iqe-build-")
        return Path(self._temporary.name)


def _plan() -> native.Plan | None:
    target = native.chosen_target(os.environ, native.host_target())
    return None if target is None else native.Plan(target, native.chosen_compiler(os.environ))
