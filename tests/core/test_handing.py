"""What a key says of packages and programs and is not true of a room, so that nothing made there enters the cache. 1 s."""

from dataclasses import replace
from pathlib import Path

import pytest

from whence import environment, handing, programs
from whence.environment import Distribution
from whence_catalog import cache, model

FROM_GIT = Distribution("it", "1.0", url="git+https://h/it@a", files_digest="sha256:1")
FROM_FOLDER = Distribution("it", "1.0", files_digest="sha256:1")


@pytest.mark.parametrize(
    ("recorded", "inside", "told"),
    [
        ([Distribution("it", "1.0")], [Distribution("it", "1.0"), Distribution("more", "2")], None),
        ([Distribution("it", "1.0")], [Distribution("it", "1.1")], "it 1.1 in place of 1.0"),
        ([Distribution("it", "1.0")], [], "it nothing in place of 1.0"),
        ([FROM_GIT], [FROM_GIT], None),
        (
            [FROM_GIT],
            [replace(FROM_GIT, url="git+https://h/it@b")],
            "1.0 (git+https://h/it@b) in place of 1.0",
        ),
        ([FROM_GIT], [Distribution("it", "1.0")], "it 1.0 in place of 1.0 (git+https://h/it@a)"),
        ([FROM_FOLDER], [FROM_FOLDER], None),
        ([FROM_FOLDER], [replace(FROM_FOLDER, files_digest="sha256:2")], "1.0 (sha256:2) in place of 1.0"),
        ([FROM_FOLDER], [], "it nothing in place of 1.0 (sha256:1)"),
        ([Distribution("it", "1.0", editable=True), Distribution("whence", "1")], [], None),
    ],
)
def test_other_packages_than_were_recorded_make_a_key_untrue(
    recorded: list[Distribution], inside: list[Distribution], told: str | None
) -> None:
    here = environment.capture()
    said = list(
        handing.untrue(
            handing.Keyed("key", ()),
            model.Capture(),
            replace(here, distributions=tuple(recorded)),
            replace(here, distributions=tuple(inside)),
        )
    )
    assert said == [] if told is None else told in "".join(said)


@pytest.mark.parametrize(
    ("of", "started", "is_true"),
    [
        ("its machine", "bin/tool", True),
        ("its machine", "other/tool", False),
        ("its machine", "room/tool", False),
        ("the packages", "other/tool", False),
        # It names the place of its environment, which is another one.
        ("the packages", "room/tool", True),
    ],
)
def test_another_program_than_the_key_names_makes_it_untrue(
    tmp_path: Path, of: str, started: str, is_true: bool
) -> None:
    for folder in ("bin", "other", "room"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text(f"#!{folder}")
    here = environment.capture()
    place = environment.key_environment(here, "packages") if of == "the packages" else {"machine": "x"}
    parts = (
        cache.component("environment", dict(place)),
        cache.component("extra", programs.Program(tmp_path / "bin/tool", None).identity, "extra/program"),
    )
    program = handing.Started(tmp_path / started, started.startswith("room"))
    said = list(
        handing.untrue(handing.Keyed("key", parts), model.Capture(command=("tool",)), here, here, program)
    )
    assert said == [] if is_true else "not the program that its key names" in "".join(said)
