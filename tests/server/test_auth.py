"""Who is let in: tokens that were made here, and JWTs of an issuer whose key set is really served; nobody else."""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests import postgres, servers
from whence.cli import app as command
from whence.http import HttpCatalog
from whence_api import auth
from whence_catalog import access, cache, model
from whence_catalog.access import Grant, Grants
from whence_catalog.errors import Conflict, Denied, ErrorKind, InvalidInput, NotFound, Unreachable
from whence_catalog.sql.catalog import SqlCatalog

SECRET = "whence_" + "s3cret-" * 6 + "x"
AUDIENCE = "whence"
NOW = datetime.now(UTC)


# ── an issuer ────────────────────────────────────────────────────────────────────────────────────


class Issuer:
    """Signs JWTs, and serves its key set and its discovery document on 127.0.0.1."""

    def __init__(self) -> None:
        self.private: dict[str, Any] = {"rsa": rsa.generate_private_key(65537, 2048)}
        self.private["ec"] = ec.generate_private_key(ec.SECP256R1())
        self.private["ed"] = ed25519.Ed25519PrivateKey.generate()
        self.published = list(self.private)
        self.asked: list[str] = []
        self.claimed: str | None = None
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                body = json.dumps(issuer.says(self.path)).encode()
                self.send_response(200 if body != b"null" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def says(self, path: str) -> object:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.claimed or self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [self.jwk(name) for name in self.published]} if path == "/keys" else None

    def jwk(self, name: str) -> dict[str, object]:
        algorithm = jwt.get_algorithm_by_name(ALGORITHM[name.partition("-")[0]])
        public = algorithm.to_jwk(self.private[name].public_key(), as_dict=True)  # type: ignore[attr-defined]
        return {**public, "kid": name, "use": "sig"}

    def claims(self, **other: object) -> dict[str, object]:
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "groups": ["vision"],
            "exp": time.time() + 60,
        }
        return {name: value for name, value in {**claims, **other}.items() if value is not None}

    def token(self, name: str = "rsa", headers: dict[str, object] | None = None, **claims: object) -> str:
        algorithm = ALGORITHM[name.partition("-")[0]]
        given = self.claims(**claims)
        return jwt.encode(given, self.private[name], algorithm, headers={"kid": name, **(headers or {})})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


ALGORITHM = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


@pytest.fixture(scope="module")
def _issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


@pytest.fixture
def issuer(_issuer: Issuer) -> Iterator[Issuer]:
    _issuer.published = ["rsa", "ec", "ed"]
    _issuer.claimed = None
    _issuer.asked.clear()
    return _issuer


def settings(issuer: Issuer, **other: Any) -> auth.AuthSettings:
    given: dict[str, Any] = {
        "authentication": "tokens",
        "oidc_issuer": issuer.url,
        "oidc_audience": (AUDIENCE,),
        "oidc_grants": {"vision": ["record:vision"], "heads": ["administer:*"], "*": ["read:public"]},
        "oidc_leeway_seconds": 0.0,
    }
    return auth.AuthSettings(**{**given, **other})


def nobody(_: bytes) -> None:
    return None


def opened(issuer: Issuer, **other: Any) -> auth.Authenticator:
    return auth.Authenticator(settings(issuer, **other), nobody)


def refusal(asked: auth.Authenticator, header: str | None) -> str:
    """Why nobody is let in with that header."""
    with pytest.raises(Denied) as refused:
        asked.viewer(header)
    assert refused.value.kind is ErrorKind.UNAUTHENTICATED
    assert SECRET not in str(refused.value)
    return str(refused.value)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    made = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
    yield made
    made.close()


def kept(catalog: SqlCatalog, secret: str = SECRET, **other: Any) -> access.Token:
    given = {"uid": uuid.uuid4(), "name": "nightly", "actor": "robot", "hash": access.hash_of(secret)}
    given |= {"grants": Grants.parse(["record:vision"]), "created_at": NOW}
    return catalog.add_token(access.Token(**{**given, **other}))


class Door:
    """An Authenticator on a catalog's tokens, and how often it looked one up."""

    def __init__(self, catalog: SqlCatalog, **told: Any) -> None:
        self.looked_up = 0
        self._catalog = catalog
        self.asked = auth.Authenticator(auth.AuthSettings(authentication="tokens", **told), self._find)

    def _find(self, hash: bytes) -> access.Token | None:
        self.looked_up += 1
        return self._catalog.find_token(hash)


def test_whoever_shows_a_token_is_its_actor_with_its_grants(catalog: SqlCatalog) -> None:
    kept(catalog)
    viewer = Door(catalog).asked.viewer(f"Bearer {SECRET}")
    assert (viewer.actor.name, viewer.actor.authenticated) == ("robot", True)
    assert viewer.grants == Grants.parse(["record:vision"])


def test_the_scheme_is_read_in_any_case(catalog: SqlCatalog) -> None:
    kept(catalog)
    assert Door(catalog).asked.viewer(f"bearer  {SECRET} ").actor.name == "robot"


def test_what_is_kept_of_a_token_does_not_let_anybody_in(catalog: SqlCatalog) -> None:
    token = kept(catalog)
    door = Door(catalog).asked
    for shown in (token.hash.hex(), base64.urlsafe_b64encode(token.hash).decode(), str(token.uid)):
        refusal(door, f"Bearer {shown}")
        refusal(door, f"Bearer whence_{shown[:43]}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        SECRET,
        f"Basic {SECRET}",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET},{SECRET}",
        "Bearer whence_" + "ä" * 43,
        "Bearer \ud800",
        "Bearer a.b.c",
        "Bearer " * 9000,
    ],
)
def test_what_is_no_token_lets_nobody_in_and_asks_nobody(catalog: SqlCatalog, header: str | None) -> None:
    kept(catalog)
    door = Door(catalog)
    assert door.asked.recall(header) is None
    refusal(door.asked, header)
    assert door.looked_up == 0


def test_a_secret_that_nobody_made_lets_nobody_in(catalog: SqlCatalog) -> None:
    kept(catalog)
    assert "not known" in refusal(Door(catalog).asked, "Bearer whence_" + "y" * 43)


def test_an_expired_token_lets_nobody_in(catalog: SqlCatalog) -> None:
    kept(catalog, expires_at=NOW - timedelta(seconds=1))
    assert "expired" in refusal(Door(catalog).asked, f"Bearer {SECRET}")


def test_a_token_that_is_remembered_expires_all_the_same(catalog: SqlCatalog) -> None:
    kept(catalog, expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    door = Door(catalog, token_cache_seconds=3600).asked
    assert door.viewer(f"Bearer {SECRET}").actor.name == "robot"
    assert "expired" in refused_at_last(door, f"Bearer {SECRET}")


def test_a_revoked_token_lets_nobody_in(catalog: SqlCatalog) -> None:
    catalog.revoke_token(kept(catalog).uid)
    assert "revoked" in refusal(Door(catalog).asked, f"Bearer {SECRET}")


def test_a_token_is_remembered_so_that_not_every_request_is_a_query(catalog: SqlCatalog) -> None:
    kept(catalog)
    door = Door(catalog, token_cache_seconds=3600)
    assert door.asked.recall(f"Bearer {SECRET}") is None
    viewers = [door.asked.viewer(f"Bearer {SECRET}") for _ in range(50)]
    assert door.asked.recall(f"Bearer {SECRET}") == viewers[0]
    assert door.looked_up == 1


def test_revoking_takes_effect_once_what_is_remembered_has_lapsed(catalog: SqlCatalog) -> None:
    token = kept(catalog)
    door = Door(catalog, token_cache_seconds=0.2).asked
    door.viewer(f"Bearer {SECRET}")
    catalog.revoke_token(token.uid)
    assert "revoked" in refused_at_last(door, f"Bearer {SECRET}")


def test_without_a_memory_revoking_takes_effect_at_once(catalog: SqlCatalog) -> None:
    token = kept(catalog)
    door = Door(catalog, token_cache_seconds=0).asked
    door.viewer(f"Bearer {SECRET}")
    catalog.revoke_token(token.uid)
    assert "revoked" in refusal(door, f"Bearer {SECRET}")


def refused_at_last(door: auth.Authenticator, header: str) -> str:
    while True:
        try:
            door.viewer(header)
        except Denied as error:
            return str(error)
        time.sleep(0.02)


def test_without_authentication_everybody_may_do_all_and_nobody_is_known() -> None:
    door = auth.Authenticator(auth.AuthSettings(), nobody)
    for header in (None, "Bearer nonsense", f"Bearer {SECRET}"):
        assert door.recall(header) == door.viewer(header)
        assert not door.viewer(header).actor.authenticated
        assert all(door.viewer(header).may(grant, "any") for grant in Grant)


# ── tokens as they are kept, and made by the command ─────────────────────────────────────────────


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlCatalog]:
    """A catalog in each database."""
    with contextlib.ExitStack() as scope:
        if request.param == "sqlite":
            opened = SqlCatalog.open(tmp_path / "catalog.db", synchronous="NORMAL")
        else:
            opened = SqlCatalog.connect(scope.enter_context(postgres.shared().database()))
        scope.callback(opened.close)
        yield opened
        assert opened.check().problems == ()


def test_a_token_is_kept_as_it_was_made_but_for_the_catalogs_own_time(either: SqlCatalog) -> None:
    until = NOW + timedelta(days=90)
    made = kept(either, grants=Grants.parse(["read:*", "record:vision", "promote:vision"]), expires_at=until)
    assert (made.grants, made.expires_at, made.revoked_at) == (
        Grants.parse(["promote:vision", "record:vision", "read:*"]),
        until,
        None,
    )
    assert either.find_token(access.hash_of(SECRET)) == made
    assert either.find_token(access.hash_of(SECRET + "x")) is None
    assert list(either.tokens()) == [made]


def test_the_same_token_again_is_one_and_another_under_its_id_or_secret_is_a_conflict(
    either: SqlCatalog,
) -> None:
    made = kept(either)
    assert either.add_token(made) == made
    for change in ({"name": "other"}, {"grants": Grants.parse(["administer:*"])}, {"uid": uuid.uuid4()}):
        with pytest.raises(Conflict):
            either.add_token(dataclasses.replace(made, **change))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        either.add_token(dataclasses.replace(made, hash=access.hash_of("whence_" + "z" * 43)))
    assert list(either.tokens()) == [made]


def test_revoking_twice_is_revoking_once_and_what_was_revoked_stays_listed(either: SqlCatalog) -> None:
    first, second = kept(either), kept(either, "whence_" + "z" * 43)
    revoked = either.revoke_token(first.uid)
    assert revoked.revoked_at is not None
    assert either.revoke_token(first.uid) == revoked
    assert list(either.tokens()) == [second, revoked]
    # Said again, it is still revoked.
    assert either.add_token(first) == revoked
    with pytest.raises(NotFound) as refused:
        either.revoke_token(uuid.uuid4())
    assert refused.value.kind is ErrorKind.NO_SUCH_TOKEN


Cli = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs `whence token … --json` in this process; how it ended, what it printed, and what it said on stderr."""

    def run(*arguments: str) -> tuple[int, Any, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["whence", "token", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            command.run()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), json.loads(out) if out.strip() else None, err

    return run


def test_the_command_makes_lists_and_revokes_tokens_and_keeps_no_secret(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHENCE_URL", str(tmp_path))
    code, made, _ = cli("create", "ci", "--grant", "record:vision", "--grant", "read:*", "--actor", "robot")
    assert code == 0
    assert access.is_secret(made["secret"])
    assert made["token"]["hash"] == hashlib.sha256(made["secret"].encode()).hexdigest()
    lasts = datetime.fromisoformat(made["token"]["expires_at"]) - datetime.fromisoformat(
        made["token"]["created_at"]
    )
    assert timedelta(days=89) < lasts < timedelta(days=91)
    cli("create", "for ever", "--grant", "read:vision", "--expires", "never")
    _, listed, _ = cli("ls")
    assert [(token["name"], token["expires_at"] is None) for token in listed] == [
        ("for ever", True),
        ("ci", False),
    ]
    assert made["secret"] not in json.dumps(listed)
    assert made["secret"].encode() not in (tmp_path / "catalog.db").read_bytes()
    with contextlib.closing(SqlCatalog.open(tmp_path / "catalog.db")) as opened:
        door = auth.Authenticator(auth.AuthSettings(authentication="tokens"), opened.find_token)
        assert door.viewer(f"Bearer {made['secret']}").actor == model.Actor("robot", authenticated=True)
    assert cli("revoke", "ci")[1]["revoked_at"] is not None
    assert cli("revoke", made["token"]["uid"][:23])[0] == 0
    assert "no token nobody" in cli("revoke", "nobody")[2]
    # A name is free again once what had it is revoked.
    cli("create", "ci", "--grant", "read:vision")
    assert cli("revoke", "ci")[1]["uid"] != made["token"]["uid"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["x", "--grant", "write:vision"],
        ["x", "--grant", "read"],
        ["", "--grant", "read:vision"],
        ["x", "--grant", "read:vision", "--expires", "1y"],
        ["x", "--grant", "read:vision", "--expires", "0d"],
        ["x", "--grant", "read:vision", "--actor", "a\nb"],
    ],
)
def test_a_token_that_cannot_be_meant_is_refused_in_one_line(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, wrong: list[str]
) -> None:
    monkeypatch.setenv("WHENCE_URL", str(tmp_path))
    code, out, err = cli("create", *wrong)
    assert (code, out, err.count("\n")) == (1, None, 1)
    assert cli("ls")[1] == []


def test_over_http_the_command_gives_no_more_than_its_own_token_may(
    catalog: SqlCatalog, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(catalog, grants=Grants.parse(["administer:vision"]))
    with servers.in_thread(catalog, authentication="tokens", token_cache_seconds=0) as url:
        monkeypatch.setenv("WHENCE_URL", url)
        monkeypatch.setenv("WHENCE_TOKEN", SECRET)
        code, made, _ = cli("create", "ci", "--grant", "record:vision")
        assert code == 0
        code, _, err = cli("create", "wide", "--grant", "record:vision", "--grant", "read:speech")
        assert code == 1
        assert "may not administer in project speech" in err
        monkeypatch.setenv("WHENCE_TOKEN", made["secret"])
        assert cli("create", "more", "--grant", "read:vision")[0] == 1
        monkeypatch.setenv("WHENCE_TOKEN", SECRET)
        assert {token["name"] for token in cli("ls")[1]} == {"ci", "nightly"}
        cli("revoke", "ci")
        monkeypatch.setenv("WHENCE_TOKEN", made["secret"])
        assert "revoked" in cli("ls")[2]


# ── JWTs ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(ALGORITHM))
def test_a_jwt_of_the_issuer_is_the_actor_that_it_names_with_the_grants_of_its_groups(
    issuer: Issuer, name: str
) -> None:
    viewer = opened(issuer).viewer(f"Bearer {issuer.token(name)}")
    assert (viewer.actor.name, viewer.actor.authenticated) == ("ada", True)
    assert viewer.grants == Grants.parse(["record:vision", "read:public"])


def test_which_claims_name_the_actor_and_the_groups_is_configured(issuer: Issuer) -> None:
    door = opened(issuer, oidc_actor_claim="email", oidc_groups_claim="realm.roles")
    token = issuer.token(email="ada@example.org", realm={"roles": ["heads", 7, None]}, groups=["vision"])
    viewer = door.viewer(f"Bearer {token}")
    assert viewer.actor.name == "ada@example.org"
    assert viewer.grants == Grants.parse(["administer:*", "read:public"])
    by_address = opened(issuer, oidc_groups_claim="https://example.org/groups")
    token = issuer.token(**{"https://example.org/groups": "vision"})
    assert by_address.viewer(f"Bearer {token}").may(Grant.RECORD, "vision")


@pytest.mark.parametrize("groups", [None, [], "nobody", 7, {"vision": True}, [["vision"]]])
def test_who_is_in_no_group_that_is_configured_has_what_everybody_has(issuer: Issuer, groups: object) -> None:
    viewer = opened(issuer).viewer(f"Bearer {issuer.token(groups=groups)}")
    assert viewer.grants == Grants.parse(["read:public"])


FORGERIES: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda i: i.token(exp=time.time() - 1),
    "not valid yet": lambda i: i.token(nbf=time.time() + 60),
    "of tomorrow": lambda i: i.token(iat=time.time() + 86400),
    "without an end": lambda i: i.token(exp=None),
    "with an end that is no number": lambda i: i.token(exp="never"),
    "without end, almost": lambda i: i.token(exp=1e400),
    "for another audience": lambda i: i.token(aud="other"),
    "for other audiences": lambda i: i.token(aud=["other", "whence2"]),
    "for no audience": lambda i: i.token(aud=None),
    "by another issuer": lambda i: i.token(iss="https://other.example.org"),
    "by no issuer": lambda i: i.token(iss=None),
    "by an issuer with a slash more": lambda i: i.token(iss=i.url + "/"),
    "without a name": lambda i: i.token(sub=None),
    "with an empty name": lambda i: i.token(sub=" "),
    "with a name of two lines": lambda i: i.token(sub="ada\nroot"),
    "unsigned": lambda i: jwt.encode(i.claims(), None, "none", headers={"kid": "rsa"}),
    "unsigned, of an issuer's key": lambda i: forged(i, {"alg": "none", "kid": "rsa"}, b""),
    "None": lambda i: forged(i, {"alg": "None", "kid": "rsa"}, b""),
    "with a secret that is the public key": lambda i: hashed(i, public_pem(i)),
    "with a secret that is the public key's JWK": lambda i: hashed(i, json.dumps(i.jwk("rsa")).encode()),
    "by a key that calls itself the issuer's": lambda i: jwt.encode(
        i.claims(), rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "rsa"}
    ),
    "by a key that it brings along": lambda i: by_its_own_key(i),
    "by an algorithm that the key is not of": lambda i: jwt.encode(
        i.claims(), i.private["ec"], "ES256", headers={"kid": "rsa"}
    ),
    "with an algorithm of none of these": lambda i: jwt.encode(
        i.claims(), i.private["rsa"], "PS256", headers={"kid": "rsa"}
    ),
    "by a key that is not published": lambda i: i.token(headers={"kid": "nobody's"}),
    "without a key's id": lambda i: jwt.encode(i.claims(), i.private["rsa"], "RS256"),
    "with other claims than were signed": lambda i: swapped(i),
    "with its signature cut off": lambda i: i.token().rpartition(".")[0] + ".",
    "whose claims are no object": lambda i: signed(i, b"[1]"),
    "whose claims are no JSON": lambda i: signed(i, b"\xff"),
    "whose header is nested": lambda i: f"{coded(b'[' * 9000)}.{coded(b'{}')}.x",
    "of dots": lambda i: "..",
}


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(issuer: Issuer, header: dict[str, object], signature: bytes) -> str:
    return f"{coded(json.dumps(header).encode())}.{coded(json.dumps(issuer.claims()).encode())}.{coded(signature)}"


def public_pem(issuer: Issuer) -> bytes:
    public: bytes = (
        issuer.private["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def hashed(issuer: Issuer, secret: bytes) -> str:
    body = forged(issuer, {"alg": "HS256", "kid": "rsa", "typ": "JWT"}, b"").rpartition(".")[0]
    return f"{body}.{coded(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def by_its_own_key(issuer: Issuer) -> str:
    key = rsa.generate_private_key(65537, 2048)
    brought = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    headers = {"jwk": brought, "jku": "https://example.org/keys", "kid": "rsa"}
    return jwt.encode(issuer.claims(), key, "RS256", headers=headers)


def swapped(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{coded(json.dumps(issuer.claims(groups=['heads'])).encode())}.{signature}"


def signed(issuer: Issuer, payload: bytes) -> str:
    return jwt.PyJWS().encode(payload, issuer.private["rsa"], "RS256", headers={"kid": "rsa"})


@pytest.mark.parametrize("how", FORGERIES)
def test_a_jwt_that_is_not_the_issuers_for_this_server_and_now_lets_nobody_in(
    issuer: Issuer, how: str
) -> None:
    if how == "without a key's id":
        issuer.private["rsa-2"] = rsa.generate_private_key(65537, 2048)
        issuer.published.append("rsa-2")
    door = opened(issuer)
    token = FORGERIES[how](issuer)
    why = refusal(door, f"Bearer {token}")
    assert ("expired" in why) == (how == "expired")
    assert door.recall(f"Bearer {token}") is None
    assert door.viewer(f"Bearer {issuer.token()}").actor.name == "ada"


def test_a_jwt_lets_nobody_in_where_no_issuer_is_configured(issuer: Issuer) -> None:
    door = auth.Authenticator(auth.AuthSettings(authentication="tokens"), nobody)
    refusal(door, f"Bearer {issuer.token()}")
    assert issuer.asked == []


def test_one_key_needs_no_id(issuer: Issuer) -> None:
    token = jwt.encode(issuer.claims(), issuer.private["rsa"], "RS256")
    assert opened(issuer).viewer(f"Bearer {token}").actor.name == "ada"


def test_the_clocks_may_be_a_little_apart(issuer: Issuer) -> None:
    door = opened(issuer, oidc_leeway_seconds=60.0)
    assert door.viewer(f"Bearer {issuer.token(exp=time.time() - 5)}").actor.name == "ada"
    assert door.viewer(f"Bearer {issuer.token(nbf=time.time() + 5)}").actor.name == "ada"


def test_keys_are_fetched_once_and_again_when_one_is_not_known(issuer: Issuer) -> None:
    door = opened(issuer)
    for _ in range(5):
        for name in ALGORITHM:
            door.viewer(f"Bearer {issuer.token(name, jti=str(uuid.uuid4()))}")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_whoever_invents_key_ids_does_not_make_the_server_ask_for_each(issuer: Issuer) -> None:
    door = opened(issuer)
    for place in range(20):
        refusal(door, f"Bearer {issuer.token(headers={'kid': f'invented {place}'})}")
    assert issuer.asked.count("/keys") == 1


def test_a_key_that_the_issuer_publishes_later_is_found(issuer: Issuer) -> None:
    issuer.private["rsa-3"] = rsa.generate_private_key(65537, 2048)
    door = opened(issuer)
    door.viewer(f"Bearer {issuer.token()}")
    issuer.published = ["rsa-3"]
    after_the_pause(door)
    assert door.viewer(f"Bearer {issuer.token('rsa-3')}").actor.name == "ada"
    refusal(door, f"Bearer {issuer.token(jti='after the key was withdrawn')}")


def after_the_pause(door: auth.Authenticator) -> None:
    """As if the keys had been fetched a minute ago."""
    known = door._keys
    assert known is not None
    known._tried_at -= 60
    known._fetched_at -= 60


def test_the_key_set_may_be_named_by_its_address_or_be_a_file(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(issuer.says("/keys")))
    for named in (f"{issuer.url}/keys", str(file)):
        door = opened(issuer, oidc_keys=named)
        assert door.viewer(f"Bearer {issuer.token()}").actor.name == "ada"
    assert issuer.asked == ["/keys"]


def test_a_discovery_document_of_another_issuer_is_not_believed(issuer: Issuer) -> None:
    issuer.claimed = "https://other.example.org"
    with pytest.raises(Unreachable):
        opened(issuer).viewer(f"Bearer {issuer.token()}")


def test_an_issuer_that_does_not_answer_is_said_to_and_tokens_still_work(
    issuer: Issuer, catalog: SqlCatalog
) -> None:
    kept(catalog)
    told = settings(issuer, oidc_keys="http://127.0.0.1:1/keys")
    door = auth.Authenticator(told, catalog.find_token)
    for _ in range(3):
        with pytest.raises(Unreachable) as said:
            door.viewer(f"Bearer {issuer.token()}")
        assert "127.0.0.1" not in str(said.value)
    assert door.viewer(f"Bearer {SECRET}").actor.name == "robot"


def test_many_threads_ask_for_the_keys_once(issuer: Issuer) -> None:
    door = opened(issuer)
    tokens = [issuer.token(sub=f"user {place}") for place in range(16)]
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda t=t: names.append(door.viewer(f"Bearer {t}").actor.name))
        for t in tokens
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(f"user {place}" for place in range(16))
    assert issuer.asked.count("/keys") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_audience": ()},
        {"oidc_algorithms": ("HS256",)},
        {"oidc_algorithms": ("RS256", "none")},
        {"oidc_algorithms": ()},
        {"oidc_issuer": "http://issuer.example.org"},
        {"oidc_issuer": "issuer"},
        {"oidc_keys": "http://issuer.example.org/keys"},
        {"oidc_grants": {"vision": ["write:vision"]}},
        {"oidc_grants": {"vision": "record:vision"}},
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_once(issuer: Issuer, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        settings(issuer, **wrong)
    assert refused.value.kind is ErrorKind.BAD_SETTING


def test_over_http_a_jwt_says_who_records_and_where(issuer: Issuer, catalog: SqlCatalog) -> None:
    told: dict[str, Any] = {"oidc_issuer": issuer.url, "oidc_audience": (AUDIENCE,)}
    told["oidc_grants"] = {"vision": ["record:vision"]}
    with servers.in_thread(catalog, authentication="tokens", **told) as url:

        def begun(token: str, project: str) -> Any:
            call = model.Call(uuid.uuid4(), project, "train", model.Actor("somebody else", True))
            with contextlib.closing(HttpCatalog(url, token)) as client:
                (answer,) = client.reserve([call])
            return answer

        answer = begun(issuer.token(), "vision")
        assert isinstance(answer, cache.Execute)
        assert answer.run is not None
        assert answer.run.actor == model.Actor("ada", authenticated=True)
        assert isinstance(begun(issuer.token(), "speech"), Denied)
        with pytest.raises(Denied) as refused:
            begun(issuer.token(exp=time.time() - 3600), "vision")
        assert refused.value.kind is ErrorKind.UNAUTHENTICATED
