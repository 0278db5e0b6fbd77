"""Long lists of keywords, written as running text."""


def words(text: str) -> frozenset[str]:
    """The words between the blanks of ``text``."""
    return frozenset(text.split())
