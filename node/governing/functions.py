"""Plain functions under a gate: judged before they run, their results recorded when they return.

A call inside a governed call rests on it, and what the outer one returns is a composite of itself and those calls. This
follows the flow of the program (PEP 567): into what it awaits and the tasks it starts, not into threads of its own.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast, overload

from tslg.node.agent import in_thread
from tslg.node.authoring import References, listed
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.content import Content
from tslg.node.governing.generators import generated, yielded
from tslg.node.governing.values import as_content, described
from tslg.protocol.cid import to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.node.governing.outcome import Outcome

F = TypeVar("F", bound=Callable[..., Any])
Spends = Mapping[str, int] | Callable[[Mapping[str, Any]], Mapping[str, int]]

CODE: Final = "code"
"""The `model` of a step of plain code that is not a function of its own."""
UNSTATED: Final = "unstated"
RULE: Final = "nested calls"
"""The composition rule of what a call returns that made governed calls itself."""
_running: ContextVar[GovernedStep | None] = ContextVar("tslg_governed_step", default=None)


class GovernedStep:
    """One step of plain code, as a context manager, also for `async with`.

    Entering it submits the step and raises `Rejected` before anything ran; leaving it records `output`, or the class of
    the exception that ends it.

    Attributes:
        output: what the step returned; set it in the block. Only its digest is recorded.
        outcome: what the gate decided, once it was entered.
    """

    def __init__(self, gate: Gate, candidate: Candidate) -> None:
        self._gate = gate
        self._candidate = candidate
        self._inner: list[Outcome | Record] = []
        self._lock = threading.Lock()
        self._token: Token[GovernedStep | None] | None = None
        self._around: GovernedStep | None = None
        """The step that runs around this one, whichever gate it is under …"""
        self._above: GovernedStep | None = None
        """… and the next one around it that is under the same gate."""
        self._outcome: Outcome | None = None
        self.output: Any = None

    @property
    def outcome(self) -> Outcome:
        """What the gate decided. Raises UsageError before the step was entered."""
        if self._outcome is None:
            raise UsageError("the step was not entered yet", mend="use it in a `with` block")
        return self._outcome

    def __enter__(self) -> Self:
        self.begin()
        self._token = _running.set(self)
        return self

    async def __aenter__(self) -> Self:
        await self.begin_awaited()
        self._token = _running.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if error is None:
            self.finish(self.output)
        else:
            self.failed(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if error is None:
            await self.finish_awaited(self.output)
        else:
            # Not awaited: in what is being cancelled, nothing may wait any more.
            self.failed(error)

    @property
    def gate(self) -> Gate:
        """The gate that it is under."""
        return self._gate

    # --- the same, step by step, for what is not one block -----------------------------------------------------------

    def begin(self) -> None:
        """Submit the step. Raises Rejected, and all that `Gate.submit` raises."""
        self._begun(self._gate.submit(self._prepared()))

    async def begin_awaited(self) -> None:
        """Submit the step in a worker thread. Raises as `begin`."""
        candidate = self._prepared()
        self._begun(await in_thread(lambda: self._gate.submit(candidate)))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have governed calls in the block rest on this one."""
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)

    def finish(self, output: Any, **data: Any) -> Record:
        """Record what the step returned: of one that made governed calls itself, as a composite of it and them.

        Returns:
            The observation of what it returned, or the composite.
        """
        content = described(output)
        rested: Outcome | Record
        if self._inner or self.outcome.verdict == "decomposed":
            made = rested = self._composed([self.outcome, *self._packed(self._inner)], content)
        else:
            made = self._gate.finish(self.outcome, output=content, **data)
            rested = self.outcome
        if self._above is not None:
            self._above._take(rested)
        return made

    async def finish_awaited(self, output: Any, **data: Any) -> Record:
        """Record what the step returned in a worker thread, as `finish` does."""
        return await in_thread(lambda: self.finish(output, **data))

    def failed(self, error: BaseException) -> None:
        """Record that the step ended in an exception; that one goes on, whatever becomes of the record."""
        try:
            name = type(error).__name__
            self.finish({"raised": name}, raised=name)
        except Exception as failure:
            error.add_note(f"that it was raised could not be recorded: {failure}")

    def _prepared(self) -> Candidate:
        if self._outcome is not None:
            raise UsageError("a step is entered once", mend="make a new one for each time")
        above = self._around = _running.get()
        while above is not None and above._gate is not self._gate:
            above = above._around
        self._above = above
        if above is None:
            return self._candidate
        evidence = [*listed(self._candidate.evidence), above.outcome.record]
        fields = {name: getattr(self._candidate, name) for name in self._candidate.__dataclass_fields__}
        return Candidate(**fields | {"evidence": evidence})

    def _begun(self, outcome: Outcome) -> None:
        self._outcome = outcome.or_raise()

    def _take(self, inner: Outcome | Record) -> None:
        """Take note of a governed call inside of this one; many of them are put together at once."""
        with self._lock:
            self._inner.append(inner)
            if len(self._inner) < self._most:
                return
            many, self._inner = self._inner, []
        packed = self._packed(many)
        with self._lock:
            self._inner[:0] = packed

    @property
    def _most(self) -> int:
        return max(2, self._gate.agent.fan_in // 2)

    def _packed(self, calls: Sequence[Outcome | Record]) -> Sequence[Outcome | Record]:
        while len(calls) >= self._most:
            groups = [calls[start : start + self._most] for start in range(0, len(calls), self._most)]
            calls = [self._composed(group, [to_text(_record(one).id) for one in group]) for group in groups]
        return calls

    def _composed(self, calls: Sequence[Outcome | Record], output: Content) -> Record:
        one, class_ = self._candidate, self.outcome.class_
        names = {"intent": one.intent, "model": one.model, "version": one.version, "grain": one.grain}
        return self._gate.compose(calls, rule=RULE, output=output, class_=class_, tier=one.tier, **names)

    def _leave(self) -> None:
        if self._token is not None:
            # What is left in another context than it was entered in was never current there.
            with suppress(ValueError):
                _running.reset(self._token)


def _record(call: Outcome | Record) -> Record:
    return call if isinstance(call, Record) else call.record


class Functions:
    """What a gate offers for plain functions."""

    def step(
        self,
        intent: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        model: str = CODE,
        version: str = UNSTATED,
        evidence: References = None,
        **claims: Any,
    ) -> GovernedStep:
        """Return a context manager for a step that is judged when its block is entered, before any of it runs.

        Args:
            intent: what the step is for.
            inputs: what it consumes, by name; rules see it as facts, its digests are recorded.
            model, version: what takes the step.
            evidence: records that it rests on.
            **claims: `tier`, `uses`, `spends`, `token`, `grain`, `delegation`, `facts`, `state`, as a `Candidate` has.

        Raises:
            UsageError: an input has no canonical form. On entering, Rejected, and all that `Gate.submit` raises.
        """
        contents = {name: as_content(value) for name, value in (inputs or {}).items()}
        facts = {**contents, **claims.pop("facts", {})}
        candidate = Candidate(
            intent=intent, model=model, version=version, inputs=contents, evidence=evidence, facts=facts, **claims
        )
        return GovernedStep(cast("Gate", self), candidate)

    @overload
    def governed(self, function: F, /) -> F: ...

    @overload
    def governed(
        self,
        /,
        *,
        intent: str | None = None,
        leave_out: Iterable[str] = (),
        spends: Spends | None = None,
        **claims: Any,
    ) -> Callable[[F], F]: ...

    def governed(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        intent: str | None = None,
        leave_out: Iterable[str] = (),
        spends: Spends | None = None,
        **claims: Any,
    ) -> Any:
        """Govern a function, sync or async, a generator too: each call is a step that is judged before it runs.

        Its intent is the function's name, its inputs are the arguments with their defaults, its output what is
        returned; of a generator, the list of all that is yielded.

        Args:
            function: where it decorates without arguments of its own.
            intent: another intent.
            leave_out: parameters that are no inputs, such as connections. `self` and `cls` never are.
            spends: amounts that a call claims, or what returns them for its arguments by name.
            **claims: as for `step`.

        Raises:
            UsageError: what it decorates is no function. A call raises what `step` does, before anything ran.
        """

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return _wrapped(function, _Calls(self, function, intent, frozenset(leave_out), spends, claims).step)

        return decorate if function is None else decorate(function)


class _Calls:
    """Makes a step of each call of one function."""

    def __init__(
        self,
        gate: Functions,
        function: Callable[..., Any],
        intent: str | None,
        leave_out: frozenset[str],
        spends: Spends | None,
        claims: Mapping[str, Any],
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise UsageError(
                f"{type(function).__name__} is no function", mend="put `governed` below `staticmethod` and the like"
            )
        self._gate = gate
        self._signature = inspect.signature(function)
        self._intent = intent or str(getattr(function, "__name__", type(function).__name__))
        self._model = _name(function)
        self._version = _version(function)
        self._spends = spends
        self._claims = claims
        missing = leave_out - self._signature.parameters.keys()
        if missing:
            raise UsageError(f"{self._intent} has no parameter {min(missing)!r}", mend="leave out what it has")
        first = next(iter(self._signature.parameters), None)
        self._left_out = leave_out | ({first} & {"self", "cls"})

    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> GovernedStep:
        """Return the step that a call with these arguments is. Raises TypeError as the call would."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {name: value for name, value in bound.arguments.items() if name not in self._left_out}
        claims = dict(self._claims)
        if self._spends is not None:
            claims["spends"] = self._spends(given) if callable(self._spends) else self._spends
        return self._gate.step(self._intent, given, model=self._model, version=self._version, **claims)


def _name(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(function)
    name = f"{getattr(inner, '__module__', CODE)}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
    return name[-256:]


def _version(function: Callable[..., Any]) -> str:
    """Return the digest of a function's source: its exact version, whatever its package calls itself."""
    try:
        source = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        return UNSTATED
    return f"sha256:{hashlib.sha256(source.encode()).hexdigest()}"


def _wrapped(
    function: Callable[..., Any], step: Callable[[tuple[Any, ...], dict[str, Any]], GovernedStep]
) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return yielded(function, step)
    if inspect.isgeneratorfunction(function):
        return generated(function, step)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            async with step(args, kwargs) as one:
                one.output = await function(*args, **kwargs)
            return one.output

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with step(args, kwargs) as one:
            one.output = function(*args, **kwargs)
        return one.output

    return called
