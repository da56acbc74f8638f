"""The reason of a failure: what code of users raised, as text that can be kept and told."""

REASON_CHARACTERS_MAX = 1_000  # the log has all of it


def reason(error: BaseException) -> str:
    """Its class and text: UTF-8, bounded, whatever its class does when it is asked for text."""
    try:
        words = f"{type(error).__name__}: {error}"
    except Exception as another:
        words = f"{type(error).__name__} (its text raised {type(another).__name__})"
    return words[:REASON_CHARACTERS_MAX].encode("utf-8", "replace").decode()
