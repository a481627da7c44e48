"""A conformance kit for clients in any language: matches with corrections, over connections that misbehave.

``python -m testkit.conformance --client "node my-client"`` runs the client once for each case; see
``docs/conformance.md``.
"""
