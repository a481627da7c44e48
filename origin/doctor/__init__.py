"""``touchline doctor``: what is wrong with a set-up, seen from outside as a browser would see it.

``probe`` asks; ``tls``, ``answers``, ``page`` and ``streams`` judge what came back; ``examine`` runs them in
order; ``report`` has the findings. Nothing here reads a setting of the origin or imports the rest of it: the
set-up that is examined runs somewhere else, perhaps in another version.
"""
