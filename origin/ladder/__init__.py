"""The panic ladder: how an operator has pages spare a server that cannot carry them as they are.

``steps`` (the steps, and the state that is kept), ``advice`` (what a server tells its pages), ``store``
(where the state is kept, so that it reaches all workers), ``automatic`` (a worker that acts by its own load)
and ``settings``. docs/runbooks/panic-ladder.md is for operators, docs/protocol.md for clients.
"""
