"""A ticket: all that is needed to end a Run, in plain values, so that another process can be the one that does.

Whoever opened a call was given it; who has it may end the Run, once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from uuid import UUID

from whence import calls
from whence_catalog import model, traces
from whence_catalog.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Ticket:
    """A begun Run: its id, who holds the lease of its key, and the fence of that lease (None: there is none).

    `reason` is why it executes; `job` and `project` are those of the call.
    """

    run: str
    owner: str
    token: int | None
    reason: str
    job: str
    project: str

    @property
    def uid(self) -> UUID:
        """The Run's id, as a UUID."""
        return UUID(self.run)

    @property
    def plain(self) -> dict[str, str | int | None]:
        """As JSON takes it; `Ticket.of` reads it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: "Ticket | Mapping[str, object]") -> "Ticket":
        """The ticket that `plain` wrote.

        Raises:
            InvalidInput: it is none.
        """
        if isinstance(plain, Ticket):
            return plain
        try:
            made = cls(**plain)  # type: ignore[arg-type]
            UUID(made.run)
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"not a ticket of an opened call: {error}") from error
        texts = (made.run, made.owner, made.reason, made.job, made.project)
        if not all(type(text) is str for text in texts) or type(made.token) not in (int, type(None)):
            raise InvalidInput("not a ticket of an opened call: it is to be handed on as it was given")
        return made


def report(
    ticket: Ticket,
    actor: model.Actor,
    state: model.RunState,
    *,
    inputs: tuple[model.InputClaim, ...] = (),
    outputs: tuple[model.OutputClaim, ...] = (),
    metrics: Mapping[str, float] | None = None,
    warnings: tuple[str, ...] = (),
    error: str | None = None,
    uncacheable: tuple[str, ...] = (),
    trust: str | None = None,
    observed: model.Observed | None = None,
    trace: traces.Trace | None = None,
) -> model.Report:
    """What is said at the end of the Run of a ticket."""
    return model.Report(
        uid=calls.new_uid(),
        run=ticket.uid,
        state=state,
        actor=actor,
        inputs=inputs,
        outputs=outputs,
        metrics=dict(metrics or {}),
        warnings=warnings,
        error=error,
        token=ticket.token,
        owner=ticket.owner,
        uncacheable=uncacheable,
        trust=trust,
        observed=observed,
        trace=trace,
        claimed_at=datetime.now(UTC),
    )
