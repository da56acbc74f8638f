"""Times and sizes in words, short enough for a table."""

KIB = 1024
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")

MINUTE, HOUR, DAY, YEAR = 60, 3_600, 86_400, 31_557_600
SPANS = ((2 * MINUTE, 1, "s"), (2 * HOUR, MINUTE, "min"), (2 * DAY, HOUR, "h"), (2 * YEAR, DAY, "days"))


def size(count: float | None) -> str:
    """Bytes, in binary units: 840 B, 12.3 KiB, 4,096 TiB."""
    if count is None:
        return "?"
    if count < KIB:
        return f"{count:.0f} B"
    power = 0
    while count >= KIB - 0.5 and power < len(UNITS):
        count /= KIB
        power += 1
    return f"{count:.1f} {UNITS[power - 1]}" if count < 99.95 else f"{count:,.0f} {UNITS[power - 1]}"


def span(seconds: float) -> str:
    """A duration: 3 s, 90 s, 40 min, 5 h, 300 days, 3 years."""
    seconds = max(0.0, seconds)
    for below, unit, word in SPANS:
        if seconds < below:
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds / YEAR:.0f} years"


def milliseconds(seconds: float) -> str:
    """A short duration: 18 µs, 1.4 ms, 230 ms, 3 s."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else span(seconds)
