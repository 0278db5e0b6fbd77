"""The champion before is the champion again."""

from dataclasses import asdict, dataclass

from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.tracking import registry
from pipeline.tracking.champions import Champions, champions, change_champion
from pipeline.tracking.history import Change


@dataclass(frozen=True)
class Rollback:
    """``champion`` holds ``@champion`` now, and ``rolled_back`` held it before, if a version did."""

    champion: str
    rolled_back: str | None
    reason: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def rollback_champion(name: str, settings: Settings) -> Rollback:
    """Give ``@champion`` back to the version that held it before; given again, to the one before that.

    A version that was deleted in MLflow meanwhile is passed over. Nothing is judged, so this takes no time.

    Raises:
        ModelError: there is no such name, it names a version, or there is no earlier champion.
        ChampionMoved: somebody else changed the champion meanwhile; nothing was changed.
    """
    alone, separator, _ = name.removeprefix("models:/").replace("@", "/").partition("/")
    if separator:
        raise ModelError(
            f"a rollback takes the name alone ({alone}) and goes to the champion before, got {name!r}; a version of "
            f"your choice becomes the champion by cellscan promote {alone}/NUMBER --force"
        )
    there = set(registry.versions(settings, name))
    if not there:
        registry.resolve(settings, f"{name}@champion")  # says which names there are
    known = champions(settings, name)
    earlier = [version for version in known.earlier if version in there]
    if not earlier:
        raise ModelError(f"{name} has no earlier champion to go back to: {_why_none(known)}")
    target = earlier[0]
    from_what = f"{name}/{known.current}" if known.current else "no champion"
    deleted = [f"{name}/{version}" for version in known.earlier[: known.earlier.index(target)]]
    reason = f"rolled back from {from_what}" + (f"; passed over as deleted: {', '.join(deleted)}" if deleted else "")
    change_champion(settings, known, Change.now("restored", target, known.current, reason))
    return Rollback(target, known.current, reason)


def _why_none(known: Champions) -> str:
    if known.earlier:
        gone = ", ".join(f"{known.name}/{version}" for version in known.earlier)
        return f"{gone} {'was' if len(known.earlier) == 1 else 'were'} deleted"
    return f"{known.name}/{known.current} is the first one" if known.current else "it never had one"
