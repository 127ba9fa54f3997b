"""Read one step of a definition: its type, its config, its expressions. What is wrong with it gathers in `problems`."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.core.errors import Problem
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.expression_places import (
    CredentialPlace,
    Path,
    credential_places,
    expression_places,
    without,
)
from app.engine.language.expressions import (
    Expression,
    ExpressionFault,
    Reference,
    Template,
    compile_expression,
    compile_template,
)
from app.engine.language.input_schema import schema_fields, schema_problems
from app.engine.language.plan import Loop, Plan, RetryPolicy, Step, StepSecrets
from app.engine.language.problems import nearest, pointer
from app.engine.language.references import SECRETS
from app.engine.language.secret_shapes import NOT_WHOLE, looking_into_secrets
from app.engine.language.secret_uses import step_secrets
from app.engine.language.shape import StepShape, read
from app.engine.language.wiring import WiredStep

DEFAULT_MAX_ITERATIONS = 1_000


class StepParser:
    """Reads one step. `at` is its JSON pointer; `name` is what it is called without an id of its own."""

    def __init__(
        self, raw: Any, at: str, name: str, catalogue: NodeCatalogue, type_field: str = "type"
    ) -> None:
        self.at = at
        self._type_field = type_field
        self.shape, self.problems = read(StepShape, raw, at)
        self.type: str = getattr(self.shape, "type", "")
        self.id = self.shape.id or name
        self.node = catalogue.find(self.type)
        self.expressions: dict[Path, Expression] = {}
        self._local: dict[Path, tuple[str, ...]] = {}
        self.config: Template = compile_template({})
        self.late_schemas: tuple[str, ...] = ()
        self.secrets: StepSecrets | None = None
        self.when = self._compile(self.shape.when, "when") if self.shape.when is not None else None
        self._catalogue = catalogue
        if self.node is not None:
            self._read_config()
        elif self.type:
            self._unknown_type()

    @property
    def is_loop(self) -> bool:
        """Tell whether it runs a body of its own."""
        return self.node is not None and self.node.is_loop

    @property
    def wired(self) -> WiredStep:
        """Return what wiring must know."""
        known = self.node is not None and not self._broken_config
        ports = self._catalogue.ports(self.type, self.shape.config) if known else None
        passed_by = self.shape.when is not None or self.shape.on_error == "continue"
        return WiredStep(
            self.id, self.at, ports, self.shape.depends_on, passed_by, self.shape.join == "all"
        )

    def step(self, body: Plan | None) -> Step:
        """Return the step; to be used only when the definition has no problems."""
        return Step(
            id=self.id,
            type=self.type,
            config=self.config,
            expressions=self.expressions,
            retry=RetryPolicy(**self.shape.retry.model_dump())
            if self.shape.retry
            else RetryPolicy(),
            timeout_seconds=self.shape.timeout_seconds,
            ports=self.wired.ports or (),
            join=self.shape.join,
            when=self.when,
            continue_on_error=self.shape.on_error == "continue",
            loop=self._loop(body) if body is not None else None,
            given_timeout_seconds=self.shape.timeout_seconds
            if "timeout_seconds" in self.shape.model_fields_set
            else None,
            late_schemas=self.late_schemas,
            secrets=self.secrets,
        )

    def references(self) -> Iterator[tuple[Reference, str, tuple[str, ...]]]:
        """Yield what its expressions refer to: (reference, JSON pointer, extra names that are known there)."""
        takes = (SECRETS,) if self.node is not None and self.node.takes_secrets else ()
        for place, reference in self.config.references:
            yield reference, f"{self.at}/config{place}", takes
        if self.when is not None:
            yield from ((reference, f"{self.at}/when", ()) for reference in self.when.references)
        for path, expression in self.expressions.items():
            for reference in expression.references:
                yield reference, self.at + pointer("config", *path), self._local[path]

    def complain(self, place: str, code: str, detail: str) -> None:
        """Add a problem at a place in this step."""
        self.problems.append(Problem(self.at + place, code, detail))

    def complained(self, place: str) -> bool:
        """Tell whether a problem at a place in this step was found already."""
        return any(problem.pointer == self.at + place for problem in self.problems)

    def _loop(self, body: Plan) -> Loop:
        config = self.shape.config
        return Loop(
            body=body,
            items=self.expressions.get(("items",)),
            condition=self.expressions.get(("condition",)),
            stop_when=self.expressions.get(("stop_when",)),
            concurrency=config.get("concurrency", 1),
            max_iterations=config.get("max_iterations", DEFAULT_MAX_ITERATIONS),
            keep_going=config.get("on_item_error") == "continue",
        )

    @property
    def _broken_config(self) -> bool:
        return any(problem.pointer == f"{self.at}/config" for problem in self.problems)

    def _read_config(self) -> None:
        assert self.node is not None  # noqa: S101 - for the type checker; the caller has looked
        places = expression_places(self.node.config_schema, self.shape.config)
        for place in places:
            expression = self._compile(place.source, pointer("config", *place.path)[1:])
            if expression is not None:
                self.expressions[place.path], self._local[place.path] = expression, place.local
        if not self._broken_config:
            for problem in self._catalogue.check_config(self.type, self.shape.config):
                self.complain(f"/config{problem.pointer}", problem.code, problem.detail)
        self._check_schemas(self.node.config_schema)
        plain = without(self.shape.config, {place.path for place in places})
        self.config = compile_template(plain)
        for at, fault in self.config.faults:
            self.complain(f"/config{at}", fault.code, fault.detail)
        for at in looking_into_secrets(self.config):
            self.complain(f"/config{at}", "secret_not_whole", NOT_WHOLE)
        fields = self._credential_fields(self.node.config_schema)
        self.secrets = step_secrets(self.config, plain, fields, f"{self.at}/config")
        if self.is_loop:
            self._require_limits_without_expressions(plain)

    def _require_limits_without_expressions(self, plain: Mapping[str, Any]) -> None:
        """Refuse what would be rendered in other steps: the engine reads the limits of a loop from its definition."""
        for name, value in plain.items():
            template = compile_template(value)
            if not template.is_static and not template.faults:
                detail = f"`{name}` of a loop cannot be an expression: write its value."
                self.complain(pointer("config", name), "invalid_value", detail)

    def _check_schemas(self, config_schema: Mapping[str, Any]) -> None:
        """Check the fields that hold a JSON Schema; those with expressions in them are left for the run."""
        for name in schema_fields(config_schema):
            value = self.shape.config.get(name)
            if not compile_template(value).is_static:
                self.late_schemas = (*self.late_schemas, name)
            elif isinstance(value, Mapping):
                for problem in schema_problems(value, name):
                    self.complain(f"/config{problem.pointer}", problem.code, problem.detail)

    def _credential_fields(self, config_schema: Mapping[str, Any]) -> list[CredentialPlace]:
        """Return the fields that name a credential; a name that data could choose is refused."""
        fields = credential_places(config_schema, self.shape.config)
        for field in fields:
            if not compile_template(field.name).is_static:
                detail = "The name of a credential cannot be an expression: write it, so that no data can choose another."
                self.complain(pointer("config", *field.path), "invalid_value", detail)
        return fields

    def _compile(self, source: str, place: str) -> Expression | None:
        try:
            return compile_expression(source)
        except ExpressionFault as fault:
            self.complain(f"/{place}", fault.code, fault.detail)
            return None

    def _unknown_type(self) -> None:
        suggestion = nearest(self.type, self._catalogue.names())
        detail = f"There is no node type {self.type!r}.{suggestion} GET /api/v1/nodes lists all."
        self.complain(f"/{self._type_field}", "unknown_node_type", detail)
