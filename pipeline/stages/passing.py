"""What may pass, so that whatever runs for days tries again and does not end."""

from sqlalchemy.exc import OperationalError

from pipeline.errors import CellscanError

# Anything else is a mistake of the program.
MAY_PASS = (CellscanError, OSError, OperationalError, MemoryError)
