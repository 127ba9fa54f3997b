"""Wire forms of the grounds on which runs are started, and of what a workflow requires of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from app.schemas.auth import Email
from app.schemas.common import Input

MAX_TEXT_CHARACTERS = 1000
MAX_TEXTS = 100


def _check_scope(value: Any) -> Any:
    texts = value if isinstance(value, list) else [value]
    fits = all(isinstance(text, str) and 0 < len(text) <= MAX_TEXT_CHARACTERS for text in texts)
    if value is not None and not (fits and 0 < len(texts) <= MAX_TEXTS):
        raise ValueError(
            f"must be a text, or a list of 1 to {MAX_TEXTS} texts, each of 1 to {MAX_TEXT_CHARACTERS} characters"
        )
    return value


Sentence = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
Scope = Annotated[str | list[str] | None, BeforeValidator(_check_scope)]
ContextField = Literal["assumptions", "data_scope", "legal_basis"]


class LegalBasis(Input):
    """Under what law or order a run works, and who may see it."""

    authority: Sentence = Field(
        description="The law, order or contract.", examples=["GDPR Art. 6(1)(f)"]
    )
    classification: Sentence = Field(description="Of the data.", examples=["confidential"])
    authorized_users: list[Email] = Field(
        default=[],
        max_length=MAX_TEXTS,
        description="E-mail addresses of accounts that may read the run, besides its owner. Only the owner controls it.",
        examples=[["auditor@example.com"]],
    )


class RunContext(Input):
    """On what grounds a run is started. It is kept on the run, shown with its log lines, and part of its evidence."""

    assumptions: list[Sentence] | None = Field(
        default=None,
        max_length=MAX_TEXTS,
        description="What is taken to be true.",
        examples=[["The replica is at most 5 minutes behind."]],
    )
    data_scope: Scope = Field(
        default=None, description="What data it may touch.", examples=["Orders of EU customers"]
    )
    legal_basis: LegalBasis | None = Field(default=None, description="Why it may touch it.")

    @property
    def stored(self) -> dict[str, Any]:
        """Return it as it is kept: the fields that are set."""
        return self.model_dump(mode="json", exclude_none=True)


class ContextRules(Input):
    """What runs of a workflow must be told of their grounds."""

    required: list[ContextField] = Field(
        default=[],
        description="A run that is started without one of these is refused (422).",
        examples=[["legal_basis"]],
    )
    defaults: RunContext = Field(
        default=RunContext(),
        description="Used where a start does not give the field: always so for webhooks, which cannot.",
    )

    @property
    def stored(self) -> dict[str, Any]:
        """Return it as it is kept with the workflow."""
        return {"required": [*dict.fromkeys(self.required)], "defaults": self.defaults.stored}


def rules_of(stored: Mapping[str, Any] | None) -> ContextRules | None:
    """Return what was kept with a workflow."""
    return None if stored is None else ContextRules.model_validate(stored)
