import pytest

# Lightning's own against new torch, and its advice on worker processes, which a run of a second needs not.
_NOISE = ("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*does not have many workers.*:UserWarning")


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/callbacks" in item.path.as_posix():
            for line in _NOISE:
                item.add_marker(pytest.mark.filterwarnings(line))
