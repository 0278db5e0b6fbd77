"""How the entries of one annotation file fared, and the outcome that makes."""

from dataclasses import dataclass, field

from pipeline.sources.catalog import Outcome

_LEFT_OUT = "entries not used"


@dataclass
class Tally:
    """Entries that were used, that are wrong, and whose image is there and was not ingested itself (``missing``).

    ``again``: what stood in the way may go without a change of this archive, so that the file is tried every time.
    """

    used: int = 0
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    volumes: dict[str, None] = field(default_factory=dict)
    again: bool = False

    def outcome(self) -> tuple[Outcome, str]:
        """Quarantined where something is wrong, ignored where no image was there to take anything."""
        left_out = [*self.wrong, *self.missing]
        total = self.used + len(left_out)
        notes = "; ".join(self.notes)
        if not left_out:
            return "ingested", notes
        reason = left_out[0]
        if total > 1:
            others = ", the others were" if self.used else ""
            reason = f"{len(left_out)} of {total} {_LEFT_OUT}{others}: {reason}"
        reason = "; ".join(filter(None, (reason, notes)))
        if self.wrong:
            return "quarantined", reason
        return ("ingested" if self.used else "ignored"), reason


def used_all(outcome: str, reason: str) -> bool:
    """Whether a file of this outcome left nothing out, so that other images cannot change what became of it."""
    return outcome == "ingested" and _LEFT_OUT not in reason
