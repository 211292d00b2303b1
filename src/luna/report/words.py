"""Numbers as text, rounded in one way for the page, the terminal and the index."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

MM3_PER_ML = 1000


def whole(value: float) -> str:
    """A number without decimals, halves away from zero.

    >>> whole(106.5), whole(-640.5), whole(-0.2)
    ('107', '-641', '0')
    """
    rounded = Decimal(repr(float(value))).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return f"{rounded + 0:.0f}"


def signed(value: float) -> str:
    """A change without decimals, halves away from zero, and with its sign.

    >>> signed(50.5), signed(-12.5), signed(0.4)
    ('+51', '-13', '0')
    """
    text = whole(value)
    return text if text == "0" or text.startswith("-") else f"+{text}"


def change_words(low: float | None, change: float | None, high: float | None) -> str:
    """A change of volume in % with its limits, which follow in brackets.

    >>> change_words(20.4, 50.5, 88.1), change_words(None, None, None)
    ('+51 (+20 to +88)', '–')
    """
    if low is None or change is None or high is None:
        return "–"
    return f"{signed(change)} ({signed(low)} to {signed(high)})"


def probability_words(p: float | None) -> str:
    """A probability to three decimals, never as certainty; a dash where there is none.

    >>> probability_words(0.98765), probability_words(0.99996), probability_words(None)
    ('0.988', '>0.999', '–')
    """
    if p is None:
        return "–"
    if p >= 0.9995:
        return ">0.999"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def volume_words(volume_mm3: float) -> str:
    """A volume in mm³, from 10 ml on in ml.

    >>> volume_words(106.7), volume_words(51_234)
    ('107 mm³', '51 ml')
    """
    if volume_mm3 < 10 * MM3_PER_ML:
        return f"{whole(volume_mm3)} mm³"
    return f"{whole(volume_mm3 / MM3_PER_ML)} ml"
