"""What an extra brings is asked for before it is used, and all that is missing is named."""

import pytest

from luna.run.errors import EnvironmentFault
from luna.run.extras import require_extra


def test_nothing_is_said_where_all_packages_are_there():
    require_extra("serve", ("numpy", "torch"), "packages are missing")


def test_each_missing_package_and_the_extra_are_named():
    with pytest.raises(EnvironmentFault, match="packages are missing") as caught:
        require_extra("serve", ("numpy", "no_such_a", "no_such_b"), "packages are missing")
    assert caught.value.why == "not installed: no_such_a, no_such_b"
    assert caught.value.hint == 'pip install "luna-ct[serve]"'
    assert caught.value.exit_code == 4
