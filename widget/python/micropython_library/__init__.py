"""What the lowered modules need of Python's standard library, as MicroPython can have it.

Every name answers as CPython's does for what ``shared_state`` and the bridge ask of it; what they do not ask
is not here, or raises NotImplementedError. ``widget.build.micropython.vocabulary`` says which name stands in
for what. The build makes one module of these files and leaves out what nothing reaches.

They are written in the subset that MicroPython reads, and are not lowered themselves. They also run on
CPython, where their tests compare them with the originals; what asks JavaScript differs there.
"""
