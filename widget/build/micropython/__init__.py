"""Tier 2's half of the build: ``shared_state`` and the bridge as one image of MicroPython bytecode.

Read ``vocabulary`` (what may be used as it is, and what has a stand-in), ``program`` (what the modules
define), ``lowering`` with its rules in ``statements``, ``expressions`` and ``calls``, ``reach`` and ``texts``
(what is left out), ``merging`` (one module of all), then ``image``; ``runtime_wasm`` is about what runs it.
"""

from widget.build.micropython.image import MODULE, CompilerError, image
from widget.build.micropython.lowering import lowered_program
from widget.build.micropython.program import LoweringError
from widget.build.micropython.reach import ReachError
from widget.build.micropython.runtime_wasm import RuntimeCutError, cut_runtime
from widget.build.micropython.texts import TextsError, view_texts

__all__ = [
    "MODULE",
    "CompilerError",
    "LoweringError",
    "ReachError",
    "RuntimeCutError",
    "TextsError",
    "cut_runtime",
    "image",
    "lowered_program",
    "view_texts",
]
