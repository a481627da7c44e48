"""What a server tells its pages beside the scores: a step of the ladder, and how late its own news are."""

from __future__ import annotations

from typing import Final, NamedTuple

from origin.ladder.steps import Step

__all__ = ["NO_ADVICE", "RETRY_WINDOW_S", "Advice"]

#: From the step ``retry`` on, who lost a stream comes back over so many seconds at least.
RETRY_WINDOW_S: Final = 30.0


class Advice(NamedTuple):
    """What heartbeats, long-polls and polls carry.

    Attributes:
        step: the step that pages are to be at.
        late_ms: what this server knows is older than now by so much, as far as its canary tells: nothing has
            come through log, fan-out and bus since. 0 while things come.
    """

    step: Step = Step.NORMAL
    late_ms: int = 0

    @property
    def members(self) -> str:
        """Its members in a JSON object, each with a comma before it; empty where there is no advice."""
        step = f',"step":{int(self.step)}' if self.step else ""
        return f'{step},"late_ms":{self.late_ms}' if self.late_ms else step

    def window_s(self, window_s: float) -> float:
        """The time over which viewers come back.

        Args:
            window_s: what taking all of them needs, seconds.
        """
        return max(window_s, RETRY_WINDOW_S) if self.step else window_s


NO_ADVICE: Final = Advice()
