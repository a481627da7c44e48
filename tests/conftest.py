"""Hypothesis profiles, chosen by ``HYPOTHESIS_PROFILE``.

``default``   a few dozen examples a property, new ones each time: what a developer waits for.
``ci``        more, and the same ones each time. A build that fails must fail again for whoever looks at
              it with the same commit, and must never fail on a commit that did not cause it; so CI takes no
              new examples. It is the profile when CI is set.
``thorough``  thousands, new each time: run it by hand after a change to ``shared_state``, and overnight.

No profile has a deadline: the machines are shared, and a slow moment is no wrong answer.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from testkit.poster import app, client, make_app, poster

__all__ = ["app", "client", "make_app", "poster"]

_SLOW_MACHINES = [HealthCheck.too_slow]

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=_SLOW_MACHINES)
settings.register_profile(
    "ci",
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=_SLOW_MACHINES,
)
settings.register_profile(
    "thorough", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=_SLOW_MACHINES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))
