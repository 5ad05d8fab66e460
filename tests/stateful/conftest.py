"""One catalog for the tests of a file: pipelines in it have names of their own."""

from collections.abc import Iterator

import pytest

from whence import connecting
from whence.client import Client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connecting.open_client(tmp_path_factory.mktemp("pipelines") / ".whence")
    yield opened
    assert opened.catalog.check().problems == ()
    opened.close()
