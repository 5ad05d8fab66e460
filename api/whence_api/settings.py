"""What a server is told: `Settings`, each of them in a TOML file, or in the environment as WHENCE_ and its name.

An option of the command goes before the environment, the environment before the file.
"""

import dataclasses
import difflib
import ipaddress
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from whence_api import auth
from whence_api.graphql.limits import GraphqlLimits
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady

PREFIX = "WHENCE_"
CONFIG = "WHENCE_CONFIG"
DATABASE = "catalog.db"

_GRAPHQL = GraphqlLimits()


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("expected JSON, in the environment") from None


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _without_end_slash(value: str) -> str:
    return value.rstrip("/")


Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """All that a server can be told. What is not said is as it stands here."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    # ── what it serves ──
    url: str = Field(
        ".whence", min_length=1, description="the catalog: an embedded one's folder, or postgresql://…"
    )
    blobs: str | None = Field(
        None, description="where clients keep bytes, as an fsspec URL, which they are told"
    )
    sync: Annotated[Literal["FULL", "NORMAL"], BeforeValidator(_upper)] = Field(
        "FULL", description="FULL, or NORMAL: a power cut may lose the last writes of an embedded catalog"
    )
    timeout: Seconds = Field(
        20.0, description="seconds to wait for the database, or for another process that is writing"
    )

    lease: Seconds = Field(
        60.0,
        description="seconds that a Run lives, and holds its key, without being heard of; clients are told the same",
    )

    # ── where it listens ──
    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on")
    port: int = Field(7475, ge=0, le=65535, description="the port to listen on; 0: one that is free")
    trusted_proxies: Listed = Field(
        (), description="addresses of proxies whose X-Forwarded-For is believed, with commas in between"
    )

    # ── whom it lets in ──
    authentication: Literal["none", "tokens"] = Field(
        "none",
        description="none: everybody may do all. tokens: who asks shows a token (or a JWT, see oidc_issuer)",
    )
    allow_unauthenticated: bool = Field(
        False, description="listen beyond this machine though authentication is none"
    )
    token_cache_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        5.0, description="how long a token that was good is taken to be; 0: it is looked up each time"
    )
    oidc_issuer: str | None = Field(
        None, description="whose JWTs are let in beside tokens: their iss claim, to the letter"
    )
    oidc_audience: Listed = Field(
        (), description="the aud claims that mean this server, with commas in between"
    )
    oidc_keys: str | None = Field(
        None,
        description="the issuer's key set (JWKS), a file or an https URL; as its discovery says otherwise",
    )
    oidc_algorithms: Listed = Field(
        auth.ALGORITHMS, description="with which of RS256, ES256 and EdDSA a JWT may be signed"
    )
    oidc_actor_claim: str = Field("sub", min_length=1, description="the claim that is the Actor's name")
    oidc_groups_claim: str = Field(
        "groups", min_length=1, description="the claim that lists groups; a.b is b inside a"
    )
    oidc_grants: Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(_decoded)] = Field(
        {},
        description='each group\'s grants, such as {"team" = ["record:vision"]}; those of "*" are everybody\'s',
    )
    oidc_leeway_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        30.0, description="how far the issuer's clock may be from this one's"
    )

    # ── what it bears ──
    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, description="the most bytes of a request, also once they are decompressed"
    )
    requests_per_second: float = Field(
        1000.0,
        ge=0,
        description="how many requests an actor (or an address that is none) may make; 0: any number",
    )
    requests_at_once: int = Field(2000, ge=1, description="how many of them may come at once, after a pause")
    request_seconds: Seconds = Field(
        30.0,
        description="how long a request may take to arrive, and then how long to be carried out; the database gives"
        " up a read that takes longer",
    )
    connections: int = Field(
        1000, ge=1, description="how many requests, and how many WebSockets, are served at once"
    )
    threads: int = Field(
        16, ge=1, le=512, description="how many writes, and how many reads, are carried out side by side"
    )

    # ── what one request of GraphQL may ask ──
    graphql_characters: int = Field(
        _GRAPHQL.characters, ge=100, description="how long a document of GraphQL may be"
    )
    graphql_tokens: int = Field(_GRAPHQL.tokens, ge=10, description="how many words and signs it may have")
    graphql_depth: int = Field(
        _GRAPHQL.depth, ge=2, le=50, description="how deep its fields may stand in one another"
    )
    graphql_aliases: int = Field(_GRAPHQL.aliases, ge=0, description="how many of its fields may be renamed")
    graphql_items: int = Field(
        _GRAPHQL.items, ge=1, le=1000, description="what first may be at most, and how many ids may be given"
    )
    graphql_breadth: int = Field(
        _GRAPHQL.breadth, ge=1, description="how many items the innermost of lists in lists may have together"
    )
    graphql_cost: int = Field(
        _GRAPHQL.cost,
        ge=10,
        description="how many values an answer may have; one of a lineage's node or edge counts for a twentieth,"
        " what writes for 1000",
    )
    graphql_lineage_nodes: int = Field(
        _GRAPHQL.lineage_nodes, ge=1, description="what maxNodes of a lineage may be at most"
    )
    graphql_lineage_seconds: Seconds = Field(
        _GRAPHQL.lineage_seconds, description="what seconds of a lineage may be at most"
    )
    graphql_seconds: Seconds = Field(
        _GRAPHQL.seconds, description="how long a request of GraphQL may take to be carried out"
    )

    # ── what it does by itself ──
    sweep_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        20.0, description="how often Runs that were not heard of are presumed aborted; 0: never"
    )
    sequence_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        0.2, description="how often facts get their positions (PostgreSQL only); 0: when they are read"
    )

    # ── how it ends ──
    shutdown_delay_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        0.0, description="how long it still serves after SIGTERM while /readyz says 503"
    )
    shutdown_seconds: Seconds = Field(20.0, description="how long what runs may take to end after that")

    # ── what it tells ──
    log_format: Literal["text", "json"] = Field("text", description="one line for each request: text or json")
    trace_endpoint: Annotated[str, AfterValidator(_without_end_slash)] | None = Field(
        None, description="where traces go: the OTLP/HTTP address, such as http://collector:4318/v1/traces"
    )

    @property
    def database(self) -> str:
        """The database of the catalog, as `open_url` takes it."""
        return self.url if "://" in self.url else str(Path(self.url).expanduser().absolute() / DATABASE)

    @property
    def blobs_of_clients(self) -> str | None:
        """Where clients keep bytes: what is said, else beside an embedded catalog, if all are on this machine."""
        is_beside = self.is_local and "://" not in self.url
        return self.blobs or (Path(self.database).with_name("blobs").as_uri() if is_beside else None)

    @property
    def auth_settings(self) -> auth.AuthSettings:
        """How it tells who asks."""
        return auth.AuthSettings(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(auth.AuthSettings)}
        )

    @property
    def graphql_limits(self) -> GraphqlLimits:
        """How much one request of GraphQL may ask."""
        named = (field.name for field in dataclasses.fields(GraphqlLimits))
        return GraphqlLimits(**{name: getattr(self, f"graphql_{name}") for name in named})

    @property
    def is_local(self) -> bool:
        """Whether nobody beyond this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> "Settings":
        if self.authentication == "none" and not self.is_local and not self.allow_unauthenticated:
            raise ValueError(
                f"listening on {self.host} lets everybody who reaches it do everything; set authentication to tokens"
                f" (and make one: whence token create), or allow_unauthenticated to true"
            )
        return self


def load(file: Path | None = None, **options: object) -> Settings:
    """The settings that stand: `options`, then the environment, then `file` (else what WHENCE_CONFIG names).

    Raises:
        InvalidInput: a key or a value that cannot be meant; the message names it and where it stands.
        NotReady: the file cannot be read.
    """
    named = file or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    told = {} if named is None else _read(named)

    # What is given here goes before the environment.
    given = {name: value for name, value in told.items() if not os.environ.get(PREFIX + name.upper())}
    given |= {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidInput(
            "; ".join(_explained(error, named, options)), ErrorKind.BAD_SETTING
        ) from None  # the value stands in it, which may hold a password


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise NotReady(
            f"the settings {file} cannot be read: {error.strerror}; correct --config or {CONFIG}",
            ErrorKind.BAD_SETTING,
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the settings {file} are not TOML: {error}", ErrorKind.BAD_SETTING) from error


def _explained(error: ValidationError, file: Path | None, options: dict[str, object]) -> Iterator[str]:
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        if not found["loc"]:
            yield found["msg"].removeprefix("Value error, ")
        elif found["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(found["loc"][0]), Settings.model_fields, 1)
            yield f"{file}: no setting is called {found['loc'][0]}" + (f"; {near[0]} is" if near else "")
        else:
            told = found["msg"].removeprefix("Value error, ")
            yield f"{_where(found, file, options)}: {told[0].lower()}{told[1:]}"


def _where(found: ErrorDetails, file: Path | None, options: dict[str, object]) -> str:
    name = str(found["loc"][0])
    if options.get(name) is not None:
        return f"--{name}"
    variable = PREFIX + name.upper()
    return variable if os.environ.get(variable) else f"{file}: {name}"


def described() -> Iterator[tuple[str, str, str]]:
    """Each setting by its name in the environment: what it says, and what stands where it is not said."""
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = ", ".join(default) if isinstance(default, tuple) else str(default)
        yield (
            PREFIX + name.upper(),
            field.description or "",
            "none" if default in (None, {}) else shown or "none",
        )
