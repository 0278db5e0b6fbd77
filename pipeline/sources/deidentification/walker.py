"""One way through a data set: every element, at every depth, meets the rule that is meant for it."""

from collections import Counter
from collections.abc import Callable

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from pipeline.sources.deidentification import coded, dates
from pipeline.sources.deidentification.dummies import REMOVED, dummy, is_structure
from pipeline.sources.deidentification.elements import is_empty, label, put, put_text, raw, texts, vr_of
from pipeline.sources.deidentification.identity import Identity
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.rules import Manner, Rules
from pipeline.sources.deidentification.safe_private import is_safe
from pipeline.sources.deidentification.vocabulary import cleaned

_SCRUBBED = ("CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT")
_BYTES = ("OB", "OW", "UN")
# What tells how the rest is to be read holds no name, and a "REMOVED" there would make the file unreadable.
_CHARACTER_SET, _MODALITY, _PIXEL_GROUP = 0x00080005, 0x00080060, 0x0028

# (tag, keyword, what was done) → how often. Tags of private and repeating groups are written with x's.
Counts = Counter[tuple[str, str, str]]


class Walker:
    """De-identifies the data set of one patient (a pseudonym), counting what is done."""

    def __init__(
        self, rules: Rules, pseudonyms: Pseudonyms, identity: Identity, patient: str, retain_safe_private: bool
    ) -> None:
        self.counts: Counts = Counter()
        self._rules = rules
        self._pseudonyms = pseudonyms
        self._identity = identity
        self._days = pseudonyms.days(patient)
        self._retain_safe_private = retain_safe_private
        self._do: dict[str, Callable[[Dataset, BaseTag, str], str]] = {
            "remove": self._remove,
            "empty": self._empty,
            "replace": self._replace,
            "remap": self._remap,
            "shift": self._shift,
            "keep date": self._keep_date,
            "keep offset": self._keep_offset,
            "clean": self._clean,
            "keep": self._keep,
            "scrub": self._scrub,
        }

    def walk(self, dataset: Dataset, manner: Manner = "items") -> None:
        """Change ``dataset`` in place."""
        if manner != "items" and coded.is_code(dataset):
            self._code(dataset)
            return
        safe = self._safe_private(dataset) if self._retain_safe_private and manner == "items" else set()
        for tag in list(dataset.keys()):
            if tag.is_private:
                self._private(dataset, tag, tag in safe)
            else:
                self._public(dataset, tag, manner)

    def _public(self, dataset: Dataset, tag: BaseTag, manner: Manner) -> None:
        vr = vr_of(dataset, tag)
        if manner in ("dummies", "texts") and is_structure(dataset, tag):
            return
        verb = self._rules.verb(tag, vr, manner)
        if verb in ("items", "dummies", "references", "texts"):
            done = self._sequence(dataset, tag, verb)
        else:
            done = self._safely(self._do[verb], dataset, tag, vr)
        if done:
            self.counts[(*label(tag), done)] += 1

    def _safely(self, do: Callable[[Dataset, BaseTag, str], str], dataset: Dataset, tag: BaseTag, vr: str) -> str:
        try:
            return do(dataset, tag, vr)
        except RecursionError:
            raise
        except Exception:  # a value that cannot be read cannot be judged
            return self._remove(dataset, tag, vr)

    def _sequence(self, dataset: Dataset, tag: BaseTag, manner: Manner) -> str:
        try:
            items = list(dataset[tag].value or ())
        except RecursionError:
            raise
        except Exception:  # no sequence, or one that cannot be read
            return self._remove(dataset, tag, "SQ")
        if not all(isinstance(item, Dataset) for item in items):
            return self._remove(dataset, tag, "SQ")
        for item in items:
            self.walk(item, manner)
        return {"dummies": "replaced", "references": "cut down to references", "texts": "cleaned"}.get(manner, "")

    def _remove(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        del dataset[tag]
        return "removed"

    def _empty(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        keyword = keyword_for_tag(tag)
        if keyword in ("PatientName", "PatientID") and not is_empty(dataset, tag):
            return self._replace(dataset, tag, vr)
        put(dataset, tag, vr, [] if vr == "SQ" else None)
        return "emptied"

    def _replace(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        if is_empty(dataset, tag):
            return ""
        put(dataset, tag, vr, dummy(dataset[tag].value, vr, self._pseudonyms))
        return "replaced"

    def _remap(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        values = texts(dataset, tag)
        fresh = [self._pseudonyms.uid(one) for one in values]
        if fresh == values:
            return ""
        put(dataset, tag, "UI", fresh[0] if len(fresh) == 1 else fresh)
        return "UID replaced"

    def _shift(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        return self._dated(dataset, tag, vr, self._days, "shifted")

    def _keep_date(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        return self._dated(dataset, tag, vr, 0, "kept")

    def _keep_offset(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        return "kept" if all(map(dates.is_offset, texts(dataset, tag))) else self._remove(dataset, tag, vr)

    def _dated(self, dataset: Dataset, tag: BaseTag, vr: str, days: int, done: str) -> str:
        if is_empty(dataset, tag):
            return ""
        values = [dates.moved(vr, one, days) for one in texts(dataset, tag)]
        if not values or None in values:
            return self._replace(dataset, tag, vr)
        put(dataset, tag, vr, values[0] if len(values) == 1 else values)
        return "kept" if vr == "TM" else done

    def _clean(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        if is_empty(dataset, tag):
            return ""
        words = [cleaned(self._identity.out_of(one)) for one in texts(dataset, tag)]
        kept = [one for one in words if one]
        if not kept or vr not in _SCRUBBED:
            return self._do[self._rules.without_words(tag)](dataset, tag, vr)
        put(dataset, tag, vr, kept[0] if len(kept) == 1 else kept)
        return "cleaned"

    def _keep(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        return self._scrub(dataset, tag, vr) or ("" if tag.element == 0 or vr == "UI" else "kept")

    def _scrub(self, dataset: Dataset, tag: BaseTag, vr: str) -> str:
        """An attribute stays, but for the patient's names and numbers in it."""
        if vr not in _SCRUBBED and vr not in _BYTES:
            return ""
        if tag in (_CHARACTER_SET, _MODALITY) or (vr == "CS" and tag.group == _PIXEL_GROUP):
            return ""
        held = raw(dataset, tag)
        if not self._identity.is_in(held):
            return ""
        if vr in _BYTES:
            put(dataset, tag, vr, bytes(len(held)))
        else:
            put_text(dataset, tag, vr, self._identity.cut_from(held))
        return "scrubbed"

    def _code(self, item: Dataset) -> None:
        """A published code stays with its published meaning; another becomes a dummy that stands for it."""
        meaning = coded.meaning_of(item)
        kept = {"CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator"} if meaning else set()
        stand_in = self._pseudonyms.text(str([str(item.get_item(tag).value) for tag in sorted(item.keys())]))
        for tag in list(item.keys()):
            if keyword_for_tag(tag) not in kept:
                del item[tag]
        if meaning is None:
            item.CodeValue, item.CodingSchemeDesignator = stand_in, "99ANON"
        item.CodeMeaning = meaning[:64] if meaning else REMOVED

    def _safe_private(self, dataset: Dataset) -> set[int]:
        """Private elements that stay, with the elements that name their creators (PS3.5 7.8.1)."""
        stay: set[int] = set()
        for tag in list(dataset.keys()):
            creator = BaseTag(tag.group << 16 | tag.element >> 8)
            if not tag.is_private or tag.element <= 0xFF or creator not in dataset:
                continue
            name = raw(dataset, creator).decode("latin-1").strip(" \0")
            if is_safe(name, tag.group, tag.element) and self._tells_nothing(dataset, tag):
                stay |= {int(tag), int(creator)}
        return stay

    def _tells_nothing(self, dataset: Dataset, tag: BaseTag) -> bool:
        return vr_of(dataset, tag) != "SQ" and not self._identity.is_in(raw(dataset, tag))

    def _private(self, dataset: Dataset, tag: BaseTag, is_kept: bool) -> None:
        if not is_kept:
            del dataset[tag]
        self.counts[(*label(tag), "kept" if is_kept else "removed")] += 1
