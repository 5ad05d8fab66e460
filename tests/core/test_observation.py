"""What is told of all that a Run touched, and what is said of it."""

from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import observation
from whence_catalog.model import Observed, Watching
from whence_catalog.observation import Cover, Touched

COVER = Cover(
    "/home/ada/shop",
    frozenset({"/home/ada/shop/train.py", "/data/named.csv"}),
    ("/usr/lib/python3.11", "/data/given/"),
    frozenset({"DECLARED"}),
)


def told(cover: Cover = COVER, watching: Watching = Watching.NOTE, **touched: set[str]) -> Observed:
    return observation.observed(watching, cover, Touched(**touched))


def test_what_the_key_stands_for_is_nothing_to_tell() -> None:
    covered = {
        "/home/ada/shop/train.py",
        "/home/ada/shop/__pycache__/train.cpython-311.pyc",
        "/home/ada/shop/__pycache__/train.cpython-311.opt-1.pyc",
        "/data/named.csv",
        "/data/given/deep/down.csv",
        "/data/given",
        "/data/given/",
        "/usr/lib/python3.11/json/__init__.py",
    }
    assert told(files=covered).files == ()
    others = {
        "/home/ada/shop/other.py",
        "/home/ada/shop/__pycache__/other.cpython-311.pyc",
        "/data/given.csv",
        "/data/",
        "/data/named.csv.bak",
        "/usr/lib/python3.110/x",
    }
    assert len(told(files=others).files) == len(others)


def test_the_machine_is_no_file_but_what_comes_in_through_a_descriptor_is() -> None:
    machine = {"/proc/self/status", "/sys/fs/cgroup/cpu.max", "/dev/null", "/dev/urandom", "/proc/1/fdinfo/3"}
    assert told(files=machine).files == ()
    through = {"/dev/stdin", "/dev/fd/3", "/proc/self/fd/3", "/proc/1/task/2/fd/3", "/dev/shm/x", "/dev/sda"}
    assert set(told(files=through).files) == through


def test_paths_are_told_from_the_root_of_the_project() -> None:
    seen = told(
        files={"/home/ada/shop/data/a.csv", "/home/ada/shopping", "/home/ada/shop/", "/home/ada/shop/b/"}
    )
    assert seen.files == ("./", "/home/ada/shopping", "b/", "data/a.csv")
    assert told(Cover("/"), files={"/etc/hosts"}).files == ("/etc/hosts",)


def test_a_name_that_is_not_utf_8_is_told_all_the_same() -> None:
    assert told(files={"/x/\udcff"}).files == ("/x/\\udcff",)


def test_variables_that_are_declared_or_ours_or_name_a_place_are_not_told() -> None:
    seen = told(variables={"DECLARED", "WHENCE_URL", "PATH", "TMPDIR", "HOME", "CUDA_VISIBLE_DEVICES"})
    assert seen.variables == ("CUDA_VISIBLE_DEVICES", "HOME")


@given(st.sets(st.integers(0, 999), max_size=450), st.integers(0, 9))
def test_a_long_list_is_sorted_and_cut_and_the_rest_is_counted(numbers: set[int], forgotten: int) -> None:
    names = {f"/data/{number:03}" for number in numbers}
    seen = observation.observed(Watching.NOTE, COVER, Touched(files=names), {"files": forgotten})
    assert seen.files == tuple(sorted(names))[: Observed.MOST]
    left = max(0, len(names) - Observed.MOST) + forgotten
    assert seen.more == ({"files": left} if left else {})


def test_a_program_that_was_started_is_out_of_sight() -> None:
    assert told(subprocesses={"git"}).blind_spots == ("programs were started: what they read was not seen",)


def test_strict_gives_a_reason_for_each_kind_and_each_blind_spot_and_others_none() -> None:
    touched = {
        "files": {"/a"},
        "sockets": {"h:80"},
        "variables": {"V"},
        "unseen": {"native readers loaded: h5py"},
    }
    assert observation.reasons(told(watching=Watching.STRICT, **touched)) == (
        "reads are strict, and it read files that are no inputs: /a",
        "reads are strict, and it spoke to the network: h:80",
        "reads are strict, and it read environment variables: V",
        "reads are strict, and something was out of sight: native readers loaded: h5py",
    )
    assert observation.reasons(told(watching=Watching.STRICT)) == ()
    assert observation.reasons(told(watching=Watching.NOTE, **touched)) == ()


def test_a_reader_of_the_record_is_told_a_few_names_and_how_many_more_there_are() -> None:
    seen = told(files={f"/{n}" for n in range(7)})
    assert observation.unseen(seen) == ("it read files that are no inputs: /0, /1, /2, /3, /4 and 2 more",)


def test_nothing_is_clean_where_nobody_looked() -> None:
    assert observation.unseen(None) == (observation.NOT_WATCHED,)
    assert observation.unseen(observation.not_watched()) == (observation.NOT_WATCHED,)
    assert observation.unseen(told()) == ()


def test_paths_are_made_absolute_and_normal() -> None:
    assert observation.normal("a/../b", "/x") == "/x/b"
    assert observation.normal("/a//b/./c/../d", "/") == "/a/b/d"
    assert observation.normal("//a", "/") == "/a"
    assert observation.normal("/.hidden/x", "/") == "/.hidden/x"
    assert observation.normal("/", "/x") == "/"
    assert observation.normal("/a/", "/x") == "/a"
