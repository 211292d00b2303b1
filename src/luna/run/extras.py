"""Check for the packages of an extra before they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from luna.run.errors import EnvironmentFault


def require_extra(extra: str, packages: Sequence[str], what: str) -> None:
    """Raise EnvironmentFault, whose first words are `what`, unless all packages are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            what, why=f"not installed: {', '.join(missing)}", hint=f'pip install "luna-ct[{extra}]"'
        )
