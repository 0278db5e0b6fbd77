"""What every configuration model shares."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Frozen, and without room for a misspelt key."""

    model_config = ConfigDict(frozen=True, extra="forbid")
