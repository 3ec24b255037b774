"""Numbers, times and lists as text, in one way everywhere."""

from collections.abc import Sequence

_FINE = 10_000  # images, of which a hundredth of a percent is one


def percent(share: float, *, of: int) -> str:
    """Return a share of 1 in percent, with as many decimals as so many images support.

    One image in 10,000 is 0.01 %: below that, a second decimal would be noise. What is not quite
    all or nothing gets the decimals that show it.

    Args:
        share: From 0 to 1.
        of: How many images it was measured on.

    Examples:
        >>> percent(0.88509, of=322), percent(0.97534, of=10_000), percent(0.9997, of=5000)
        ('88.5 %', '97.53 %', '99.97 %')
    """
    return f"{_in_percent(share, of)} %"


def interval(bounds: tuple[float, float], *, of: int) -> str:
    """Return two shares of 1 as an interval in percent.

    Args:
        bounds: The lower and the upper one.
        of: As for `percent`.

    Examples:
        >>> interval((0.8456, 0.9155), of=322)
        '84.6 to 91.5 %'
    """
    low, high = (_in_percent(bound, of) for bound in bounds)
    return f"{low} to {high} %"


def _in_percent(share: float, of: int) -> str:
    decimals = 1 if of < _FINE else 2
    while 0 < share < 1 and decimals < 4 and round(100 * share, decimals) in (0, 100):
        decimals += 1
    return f"{100 * share:.{decimals}f}"


def duration(seconds: float) -> str:
    """Return a time in the units that a person would say it in.

    Examples:
        >>> duration(3.21), duration(192), duration(7325)
        ('3.2 s', '3 min 12 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def listed(names: Sequence[str], *, most: int) -> str:
    """Return the first names, and how many more there are.

    Examples:
        >>> listed(["a", "b", "c", "d"], most=2), listed(["a", "b"], most=2)
        ('a, b and 2 more', 'a and b')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, what: str) -> str:
    """Return a number and its noun: "one image", "12 images"."""
    return f"one {what}" if count == 1 else f"{count:,} {what}s"


def spaced(name: str) -> str:
    """Return a name of code as words: "fine_tune" as "fine tune"."""
    return name.replace("_", " ")
