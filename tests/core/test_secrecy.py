"""What looks secret by its name, by what stands in it, or by the environment; and what only seems to. 1 s."""

from pathlib import Path
from typing import Any

import pytest

from whence import contents, notebook, parameters, secrecy
from whence_catalog import digest
from whence_catalog.errors import InvalidInput

ORDINARY = [
    "key", "sort_key", "max_tokens", "token_count", "eos_token", "pad_token_id", "secret_name", "password_file",
    "tokenizer", "passes", "n_pass", "PWD", "OLDPWD", "monkey", "keys", "author", "api_url", "storage_key", "TOKENIZERS_PARALLELISM",
]  # fmt: skip
SECRET = [
    "API_KEY", "apiKey", "--api-key", "AZURE_STORAGE_KEY", "password", "PGPASSWORD", "db.passwd", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN",
    "--token", "accessToken", "credentials", "DB_PWD", "client_secret", "WANDB_API_KEY", "OPENAI_APIKEY", "db_pass",
    "HF_TOKEN_1", "TOKEN2", "api_tokens", "hmac_key",
]  # fmt: skip


@pytest.mark.parametrize(("names", "are"), [(ORDINARY, False), (SECRET, True)])
def test_a_name_says_whether_it_holds_a_secret(names: list[str], are: bool) -> None:
    assert {name: secrecy.is_named(name) for name in names} == dict.fromkeys(names, are)


KNOWN = frozenset({"hunter2", "hunter3-of-8"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["t.py", "--password", "x1", "--n", "3"], ["t.py", "--password", "***", "--n", "3"]),
        (["--api-key=x1 y", "--out=a"], ["--api-key=***", "--out=a"]),
        (["env", "API_KEY=x1 y", "A=b"], ["env", "API_KEY=***", "A=b"]),
        (["--token", "$TOKEN", "--token", "{token}", "--token=${T}"], None),
        (["--password", "--n", "3", "--token-file", "t.txt"], None),
        (["hunter2", "a-hunter2", "see hunter3-of-8!"], ["***", "a-hunter2", "see ***!"]),
        (["postgres://me:x1@h/db", "https://h/db"], ["postgres://me:***@h/db", "https://h/db"]),
        (["git+https://ghp_0123456789abcdefghij@github.com/a"], ["git+https://***@github.com/a"]),
        (["-c", "PASSWORD=x1 psql; tool --token 'x1'"], ["-c", "PASSWORD=*** psql; tool --token '***'"]),
        (["-c", "token=os.environ['TOKEN']; f(token=get(1))"], None),
        (["-c", "def f(token: str, max_tokens=512): pass"], None),
        (['{"password": "x1", "n": "3"}'], ['{"password": "***", "n": "3"}']),
        (["-H", "Authorization: Bearer x1"], ["-H", "Authorization: Bearer ***"]),
        (["-H", "X-Api-Key: {key}", "X-Api-Key: $KEY", "-c", "print(f'token: {t}')"], None),
        (["-H", "X-Api-Key: x1 y", "note: x1"], ["-H", "X-Api-Key: ***", "note: x1"]),
        (
            ["-c", "curl -H 'X-Api-Key: x1' h; t --token x1,y2"],
            ["-c", "curl -H 'X-Api-Key: ***' h; t --token ***"],
        ),
        (["-c", """PASSWORD="it's $x z" t; export T=1"""], ["-c", 'PASSWORD="***" t; export T=1']),
        (["-c", "os.environ['TOKEN'] = 'x1'; a['token']"], ["-c", "os.environ['TOKEN'] = '***'; a['token']"]),
        ([r'{"token": "x\"1", "n": "3"}'], ['{"token": "***", "n": "3"}']),
        (["postgres://me:x@1@h/db"], ["postgres://me:***@h/db"]),
        (["--db=hunter2", "--n=3"], ["--db=***", "--n=3"]),
        (["a\n-----BEGIN RSA PRIVATE KEY-----\nb"], ["***"]),
    ],
)
def test_words_of_a_command_are_told_without_what_looks_secret(words: list[str], told: list[str]) -> None:
    assert list(secrecy.masked(words, KNOWN)) == (told or words)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "token",
        "--a ",
        "a=",
        "a: ",
        "a:'",
        '"',
        "'a: ",
        "://a:",
        "://",
        "authorization: ",
        "a\\",
        " ",
        "T=,",
        "{a:",
    ],
)
def test_a_word_may_be_as_long_as_a_word_can_be(unit: str) -> None:
    """Where a pattern looked again from each place on, this took hours."""
    word = unit * (128 * 1024 // len(unit))
    for words in (["-c", f"{word} hunter3-of-8"], [f"{word} hunter3-of-8"]):
        assert secrecy.masked(words, KNOWN)[-1].endswith("***")
    assert not contents.holds_secret(b"://" + word.encode() * 8)


def test_a_value_is_looked_through_by_the_names_in_it() -> None:
    def found(name: str, value: object) -> str | None:
        return secrecy.find(parameters.Canonical(Path.cwd()).of(value, name), name, KNOWN)

    assert found("API_KEY", "x1") == "API_KEY"
    assert found("CONFIG", {"db": [{"password": "x1"}]}) == "password in db in CONFIG"
    assert found("RATES", ["a", ("b", b"hunter2")]) == "RATES"
    assert found("URL", "postgres://me:x1@h/db") == "URL"
    assert found("text", "#" * 9999 + "\npostgres://me:x1@h/db") == "text"
    assert found("THEM", frozenset({"hunter2"})) == "THEM"
    assert secrecy.find(digest.Record("whence.input", "secrets"), "secrets", KNOWN) is None
    rates: list[digest.Framed] = [1, 2]
    value = {"rates": rates, "db": ("a", {"password": "x1"})}
    assert secrecy.without(value, "CONFIG", KNOWN) == {"rates": [1, 2], "db": ("a", {"password": "***"})}
    assert secrecy.without(rates, "rates", KNOWN) is rates
    for name, value in (
        ("API_KEY", ""),
        ("password", 5),
        ("url", "postgres://me:***@h, postgres://me:…@h, postgres://me:<password>@h"),
        ("secrets", Path("there")),
        ("secrets", b"#" * 9999),
        ("CONFIG", {"max_tokens": 3, "eos_token": "</s>", "rates": [1.0, None]}),
    ):
        assert found(name, value) is None


def test_the_environment_says_which_values_are_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"API_KEY": "hunter2", "DB_PASSWORD": "test", "X_CREDENTIALS": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    known = secrecy.known()
    assert "hunter2" in known
    assert not known & {"test", str(tmp_path)}


def test_a_cell_that_holds_a_secret_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "hunter2")
    texts = [
        "x = 1",
        "%env API_KEY=hunter2",
        "url = 'postgres://me:hunter3@h/db'",
        "def fit():\n    return 'hunter2'",
        "def well():\n    return 1",
    ]
    cells = [notebook.Cell(number, text, text) for number, text in enumerate(texts, start=1)]
    told = notebook.files(cells, None)[notebook.CELLS_PATH].decode()
    assert "hunter" not in told
    assert "# %% [1]\nx = 1\n" in told
    assert "# %% [2]\n# left out: what looks secret stands in it\n" in told
    around: dict[str, Any] = {"__name__": "__main__"}
    exec("\n".join(texts[3:]), around)
    assert notebook.module_of(around["well"], cells, lambda value: False)[0] == texts[4] + "\n"
    with pytest.raises(InvalidInput, match="what looks secret stands in a cell that fit needs"):
        notebook.module_of(around["fit"], cells, lambda value: False)
