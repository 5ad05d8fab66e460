"""The commands. Each parses, calls one function of the library, and prints the value that it returns."""

import errno
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from whence import environment, settings, times
from whence.cli import (
    caching,
    coding,
    environing,
    executing,
    explaining,
    history,
    judging,
    lineage,
    planning,
    printing,
    questions,
    rerunning,
    searching,
    session,
    tokens,
)
from whence.cli import outbox as outboxes
from whence.cli.session import Json, Ref
from whence_catalog import audit as audits
from whence_catalog import catalog, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound, NotReady, WhenceError

# The disk is full, or what this user may have of it, or what a process may write.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Group(typer.core.TyperGroup):
    """What is wrong with an option is said in words for whoever typed it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # As Pydantic says it, who may have written a program.
            error.message = error.message.removeprefix("Value error, ").partition(", unable to parse")[0]
            raise


cli = typer.Typer(
    name="whence",
    cls=_Group,
    help="Where did this model come from, and can we make it again?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        printing.show_text(f"whence {environment.whence_version()}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print which whence this is."),
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run a command. What whence refuses is one line and exit code 1; a bug is a traceback."""
    try:
        try:
            cli()
        finally:
            sys.stdout.flush()
    except WhenceError as error:
        session.refuse(error)
    except BrokenPipeError:
        # Whoever read our output is gone.
        _say_nothing_more()
        sys.exit(141)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _say_nothing_more()
        session.refuse(
            NotReady(
                f"there is no room for what it writes: {error.strerror}; make room and call again",
                ErrorKind.DISK_FULL,
            )
        )
    finally:
        session.scope.close()


def _say_nothing_more() -> None:
    """Keep Python from complaining once more while it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@cli.command(epilog="Example: `whence init` in the folder of a project.")
def init(json: Json = False) -> None:
    """Make a catalog in this folder, unless one is found upwards from it."""
    identity = session.open_client().catalog.identity()
    session.show(json, identity, lambda: printing.show_catalog(identity))


@cli.command(epilog="Examples: `whence ls --kind model` · `whence ls --as-of 2026-05-03`")
def ls(
    kind: Annotated[str | None, typer.Option(help="Only artifacts of this kind.")] = None,
    project: Annotated[str | None, typer.Option(help="Only artifacts of this project.")] = None,
    as_of: history.AsOf = None,
    json: Json = False,
) -> None:
    """List artifacts, with their newest version and their aliases."""
    opened = session.open_client()
    found = opened.catalog.artifacts(project, kind, times.position(opened, as_of))
    session.show(json, found, lambda: printing.show_artifacts(found))


@cli.command(
    epilog="Examples: `whence show model:digits@prod` · `whence show 01a2139b-beef` ·"
    " `whence show model:digits@prod --as-of 2026-05-03`"
)
def show(
    what: Annotated[str, typer.Argument(help="A version, or a run by its id.")],
    as_of: history.AsOf = None,
    json: Json = False,
) -> None:
    """Show a version, or a run: what it took, what it made, whether it can be made again."""
    opened = session.open_client()
    then = times.position(opened, as_of)
    if ":" in what:
        output = opened.get(what, then).output
        made_by = opened.catalog.run(str(output.run), then)
        aliases = tuple(times.aliases(opened, output.version.artifact, then))
        told = opened.judgements(output.version.ref, then)
        value = {"output": output, "made_by": made_by.run, "inputs": made_by.inputs, "aliases": aliases}
        lines = judging.lines(told)
        session.show(
            json,
            {**value, "judgements": told},
            lambda: printing.show_version(output, made_by, aliases, lines),
        )
    else:
        record = opened.catalog.run(what, then)
        series = opened.catalog.series(record.run.uid, then)
        session.show(json, {"record": record, "series": series}, lambda: printing.show_run(record, series))


@cli.command(epilog="Examples: `whence log` · `whence log --job pipeline.train --state failed`")
def log(
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    state: Annotated[list[model.RunState] | None, typer.Option(help="Only runs in this state.")] = None,
    project: Annotated[str | None, typer.Option(help="Only runs of this project.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 25,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    runs = session.open_client().catalog.runs(project, job, state or (), limit)
    session.show(json, runs, lambda: printing.show_runs(runs))


@cli.command(
    epilog="Examples: `whence why 01a2139b-beef` · `whence why wk1:4fd7a1c2` · "
    "`whence why --dry pipeline:train images=dataset:images@latest c=0.5` · `whence why --code pipeline:train`"
)
def why(
    what: Annotated[str, typer.Argument(help="A run, a cache key, or with --dry `module:function`.")],
    given: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="With --dry: its arguments.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="Of a call that is not made; nothing is recorded.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="The run to put beside it; the nearest earlier one otherwise.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show changes of the source to their end.")] = False,
    code: Annotated[
        bool,
        typer.Option("--code", help="Name all that counts as the code of a run, or of `module:function`."),
    ] = False,
    json: Json = False,
) -> None:
    """Say why a run executed, or what the cache would answer: which parts of the key changed, and who began it."""
    opened = session.open_client()
    if code:
        said = coding.report(opened, what)
        session.show(json, said, lambda: coding.show(said))
        return
    found = explaining.of_call(opened, what, given or ()) if dry else opened.explain(what, against)
    session.show(json, explaining.plain(found), lambda: explaining.show(found, diff))


@cli.command(
    epilog="Examples: `whence audit model:digits@prod` · `whence audit model:digits@3 --policy safety.toml`"
)
def audit(
    ref: Ref,
    policy: Annotated[Path | None, typer.Option(help="A policy in TOML; the default one otherwise.")] = None,
    json: Json = False,
) -> None:
    """Judge how a version came to be: data, code, people, intact bytes, and what is not known.

    Exit code 0: pass; 2: fail; 3: unknown.
    """
    chosen = audits.Policy.default() if policy is None else audits.Policy.parse(_toml(policy))
    report = session.open_client().audit(ref, chosen)
    session.show(json, report, lambda: printing.show_audit(report))
    raise typer.Exit(
        {audits.Verdict.PASS: 0, audits.Verdict.FAIL: 2, audits.Verdict.UNKNOWN: 3}[report.verdict]
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"no policy file {path}", ErrorKind.NO_SUCH_FILE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the policy {path} is not TOML: {error}") from error


@cli.command(epilog='Example: `whence alias model:digits@3 prod --reason "accuracy 0.97"`')
def alias(
    ref: Ref,
    name: Annotated[str, typer.Argument(help="The alias, such as `prod`.")],
    reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None,
    expected: Annotated[
        int | None, typer.Option(help="The version number it must replace (0: none); refused otherwise.")
    ] = None,
    since: judging.Since = None,
    json: Json = False,
) -> None:
    """Point an alias at a version."""
    moved = session.open_client().alias(ref, name, reason=reason, expected=expected, since=since)
    session.show(json, moved, lambda: printing.show_alias(moved))


@cli.command(epilog="Example: `whence publish data/images --as dataset:images`")
def publish(
    file: Annotated[Path, typer.Argument(help="A file or a folder.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Kind and name; `file:<its name>` otherwise.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    json: Json = False,
) -> None:
    """Record a file or folder that no run of ours made."""
    if not file.exists() and not file.is_symlink():
        raise NotFound(f"no file {file}", ErrorKind.NO_SUCH_FILE)
    named = name or str(model.Artifact(model.DEFAULT_PROJECT, "file", file.resolve().name))
    handle = session.open_client().publish(named, file, description=description)
    session.show(json, handle.output, lambda: printing.show_published(handle.output))


@cli.command(epilog="Example: `whence get model:digits@prod ./digits`")
def get(
    ref: Ref,
    to: Annotated[
        Path | None, typer.Argument(help="Where to; its own name in this folder otherwise.")
    ] = None,
    json: Json = False,
) -> None:
    """Copy the bytes of a version to here. Nothing is overwritten."""
    opened = session.open_client()
    output = opened.get(ref).output
    target = to or Path(output.filename or output.version.artifact.name.replace("/", "_"))
    content = output.version.content
    copy = opened.blobs.copy_tree if content.form is model.Form.TREE else opened.blobs.copy_file
    copy(content.digest, target)
    session.show(json, {"output": output, "path": str(target)}, lambda: printing.show_got(output, target))


@cli.command(epilog="Example: `whence check --json`")
def check(json: Json = False) -> None:
    """Rebuild everything from the facts, and compare it with what the catalog holds.

    Exit code 0: they agree; 2: they do not.
    """
    report = session.open_client().catalog.check()
    session.show(json, report, lambda: printing.show_check(report))
    raise typer.Exit(2 if report.problems else 0)


@cli.command(epilog="Example: `whence migrate` after upgrading whence.")
def migrate(json: Json = False) -> None:
    """Bring the catalog's tables to the form that this whence needs. Back it up before."""
    from whence.cli import migration

    done = migration.migrate(settings.database_url())
    session.show(json, done, lambda: printing.show_migration(done.before, done.after))


@cli.command(
    epilog="Examples: `whence backup /backups/monday --blobs` · `whence check` with WHENCE_URL=/backups/monday"
)
def backup(
    to: Annotated[Path, typer.Argument(help="A new folder.")],
    blobs: Annotated[bool, typer.Option("--blobs", help="The bytes too, after the catalog.")] = False,
    json: Json = False,
) -> None:
    """Copy the catalog, as it is at one position, into a folder that is itself a catalog.

    It is taken from the database (a folder, or `postgresql://…`) while others go on recording. Every fact
    is checked against its leaf on the way.
    """
    from whence.cli import backup as backups

    done = backups.back_up(to, blobs, printing.progress(json))
    session.show(json, done, lambda: printing.show_copied(done))


@cli.command(epilog="Example: `whence migrate`, then `whence restore /backups/monday`")
def restore(
    backup: Annotated[Path, typer.Argument(help="The folder of a backup, or of any embedded catalog.")],
    json: Json = False,
) -> None:
    """Copy a backup into the empty catalog that WHENCE_URL names, with the bytes that are beside it.

    So an embedded catalog becomes a shared one, and back.
    """
    from whence.cli import backup as backups

    done = backups.restore(backup, printing.progress(json))
    session.show(json, done, lambda: printing.show_copied(done))


@cli.command(
    epilog="Examples: `whence demo` in an empty folder · `whence demo --url http://127.0.0.1:7475` against a server."
)
def demo(
    url: Annotated[
        str | None, typer.Option(help="The catalog: a folder, or a server; as WHENCE_URL says otherwise.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a real pipeline: record, reuse, change, rerun, lineage, audit. Leaves a catalog to explore."""
    from whence.demo import tour

    done = tour.run(session.open_client(url), printing.progress(json))
    session.show(json, tour.summary(done), lambda: tour.show(done))


cli.add_typer(caching.group, name="cache")

outbox = typer.Typer(help="What could not be told to the catalog yet.", no_args_is_help=True)
cli.add_typer(outbox, name="outbox")
cli.add_typer(lineage.commands)
cli.add_typer(rerunning.commands)
cli.add_typer(environing.commands)
cli.add_typer(searching.commands)
cli.add_typer(judging.commands)
cli.add_typer(history.commands)
cli.add_typer(questions.commands)
cli.add_typer(planning.commands)
cli.add_typer(executing.group)


@outbox.command("ls", epilog="Example: `whence outbox ls`")
def outbox_ls(json: Json = False) -> None:
    """List what waits to be delivered, and what the catalog refused, with the reason."""
    found = outboxes.listing(session.open_client())
    session.show(json, found, lambda: outboxes.show_listing(found))


@outbox.command("flush", epilog="Example: `whence outbox flush` once the catalog answers again.")
def outbox_flush(
    again: Annotated[bool, typer.Option("--again", help="Also what was refused.")] = False,
    json: Json = False,
) -> None:
    """Deliver what waits, here and in the Blob store, to the catalog.

    Exit code 0: nothing is left; 2: something is; 1: the catalog does not answer.
    """
    done = outboxes.flush(session.open_client(), again)
    session.show(json, done, lambda: outboxes.show_flushed(done))
    raise typer.Exit(2 if done.left else 0)


@outbox.command("show", epilog="Example: `whence outbox show 01a2139b-beef`")
def outbox_show(what: Annotated[str, typer.Argument(help="The id of a record, or of a run.")]) -> None:
    """Print records in full, as they will be delivered, or were refused: JSON."""
    outboxes.show_pages(outboxes.pages(session.open_client().writer.box, what))


@cli.command(
    epilog="Examples: `whence serve` · `whence serve --port 0` · `whence serve --config server.toml`"
)
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 otherwise.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port; 7475 otherwise; 0: one that is free.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
) -> None:
    """Serve the catalog over HTTP, until it is told to end. Prints the address that it serves on."""
    from whence.cli import serving

    serving.serve(host, port, config)


token = typer.Typer(help="Who is let in by a server: tokens.", no_args_is_help=True)
cli.add_typer(token, name="token")


def _open_for_tokens() -> catalog.Catalog:
    opened = tokens.open_client()
    session.scope.callback(opened.close)
    return opened.catalog


@token.command(
    "create",
    epilog="Examples: `whence token create ci --grant record:vision` · "
    '`whence token create "Ada\'s laptop" --actor ada --grant "read:*" --grant record:vision --expires 30d`',
)
def token_create(
    name: Annotated[str, typer.Argument(help="What it is called in lists.")],
    grant: Annotated[
        list[str],
        typer.Option(
            help="What its holder may do: read, record, promote, approve or administer, and in which project;"
            " `*` is every one. Give it several times."
        ),
    ],
    actor: Annotated[
        str | None, typer.Option(help="Whose name stands on what is recorded with it; its own otherwise.")
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it is good: 12h, 90d, 52w, or never.")] = "90d",
    json: Json = False,
) -> None:
    """Make a token, and show its secret, once."""
    made = tokens.create(_open_for_tokens(), name, actor, grant, expires)
    session.show(json, made, lambda: tokens.show_made(made))


@token.command("ls", epilog="Example: `whence token ls`")
def token_ls(json: Json = False) -> None:
    """List tokens, with what their holders may do; not their secrets, which nobody has."""
    found = _open_for_tokens().tokens()
    session.show(json, found, lambda: tokens.show_tokens(found))


@token.command("revoke", epilog="Example: `whence token revoke ci`")
def token_revoke(
    what: Annotated[
        str, typer.Argument(help="Its name, or its id or the first eight or more characters of that.")
    ],
    json: Json = False,
) -> None:
    """Let a token's holder in no more."""
    done = tokens.revoke(_open_for_tokens(), what)
    session.show(json, done, lambda: tokens.show_revoked(done))
