"""What the user may choose about reading. Everything else is decided by the data, or refused."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

# Raised whenever reading changes, so that what an older reader made is read again.
READER = 4


@dataclass(frozen=True)
class ReadOptions:
    """``tilt``: slices of a tilted gantry are refused with the angle, or sheared back onto a straight grid."""

    tilt: Literal["refuse", "shear"] = "refuse"

    @property
    def digest(self) -> str:
        """Names this reader with these options: what another one made is read again."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{READER}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
