"""Node types for cleaning a table: profile it, find outliers, make rules of them, apply the rules, look again.

A plug-in folder: start the platform with PLUGINS_DIR pointing at the folder that holds this file.
"""

from statistics import fmean, pstdev
from typing import Any

from app.engine.sdk import Context, Field, Node, NodeConfig, NodeOutput

Row = dict[str, Any]


class Column(NodeOutput):
    """What a column's numbers look like."""

    count: int
    missing: int
    mean: float
    deviation: float


class Rule(NodeOutput):
    """The range in which a column's numbers may lie."""

    column: str
    least: float
    most: float


class ProfileConfig(NodeConfig):
    """What to profile."""

    rows: list[Row] = Field(description="The table, as objects.", examples=[[{"price": 9.5}]])


class Profile(NodeOutput):
    """What was found."""

    rows: int
    columns: dict[str, Column]


class ProfileData(Node[ProfileConfig, Profile]):
    """Count, average and spread of each column that holds numbers."""

    type = "profile_data"
    example = {"rows": [{"price": 9.5}, {"price": 10.5}]}

    async def run(self, config: ProfileConfig, context: Context) -> Profile:
        """Profile the table."""
        del context
        names = dict.fromkeys(name for row in config.rows for name in row)
        columns = {name: _column([row.get(name) for row in config.rows]) for name in names}
        return Profile(
            rows=len(config.rows),
            columns={name: column for name, column in columns.items() if column.count},
        )


class AnomaliesConfig(NodeConfig):
    """Where to look."""

    rows: list[Row] = Field(description="The table.")
    columns: dict[str, Column] = Field(description="Its profile.")
    deviations: float = Field(
        default=2.0, gt=0, description="How far from the mean is too far, in deviations."
    )


class Anomaly(NodeOutput):
    """A number that lies too far out."""

    row: int
    column: str
    value: float


class Anomalies(NodeOutput):
    """What was found, and the share of rows that it touches."""

    anomalies: list[Anomaly]
    share: float


class FindAnomalies(Node[AnomaliesConfig, Anomalies]):
    """Find numbers that lie far from their column's mean."""

    type = "find_anomalies"
    example = {"rows": [{"price": 9.5}], "columns": {}}

    async def run(self, config: AnomaliesConfig, context: Context) -> Anomalies:
        """Look at every number."""
        found = [
            Anomaly(row=index, column=name, value=value)
            for index, row in enumerate(config.rows)
            for name, value in row.items()
            if _is_number(value)
            and name in config.columns
            and _is_far(value, config.columns[name], config.deviations)
        ]
        touched = {anomaly.row for anomaly in found}
        context.log(f"{len(found)} anomalies in {len(touched)} of {len(config.rows)} rows")
        return Anomalies(anomalies=found, share=len(touched) / max(1, len(config.rows)))


class RulesConfig(NodeConfig):
    """What to make rules of."""

    anomalies: list[Anomaly] = Field(description="What was found.")
    columns: dict[str, Column] = Field(description="The profile.")
    deviations: float = Field(default=2.0, gt=0, description="As for find_anomalies.")


class Rules(NodeOutput):
    """One rule for each column with anomalies."""

    rules: list[Rule]


class GenerateRules(Node[RulesConfig, Rules]):
    """Make a range of what is usual for each column that has anomalies."""

    type = "generate_rules"
    example = {"anomalies": [], "columns": {}}

    async def run(self, config: RulesConfig, context: Context) -> Rules:
        """Make the rules."""
        del context
        names = dict.fromkeys(anomaly.column for anomaly in config.anomalies)
        return Rules(rules=[_rule(name, config.columns[name], config.deviations) for name in names])


class ApplyConfig(NodeConfig):
    """What to apply."""

    rows: list[Row] = Field(description="The table.")
    rules: list[Rule] = Field(description="The rules.")


class Cleaned(NodeOutput):
    """The rows that keep every rule."""

    rows: list[Row]
    removed: int


class ApplyRules(Node[ApplyConfig, Cleaned]):
    """Drop the rows that break a rule."""

    type = "apply_rules"
    example = {"rows": [{"price": 9.5}], "rules": [{"column": "price", "least": 0, "most": 100}]}

    async def run(self, config: ApplyConfig, context: Context) -> Cleaned:
        """Apply every rule to every row."""
        rows = [row for row in config.rows if all(_keeps(row, rule) for rule in config.rules)]
        context.log(f"removed {len(config.rows) - len(rows)} rows")
        return Cleaned(rows=rows, removed=len(config.rows) - len(rows))


class FinishConfig(NodeConfig):
    """What the pipeline hands on."""

    rows: list[Row] = Field(description="The clean table.")


class Finished(NodeOutput):
    """The end of the pipeline."""

    rows: list[Row]
    count: int


class FinishPipeline(Node[FinishConfig, Finished]):
    """Hand the clean table on."""

    type = "finish_pipeline"
    example = {"rows": [{"price": 9.5}]}

    async def run(self, config: FinishConfig, context: Context) -> Finished:
        """Return the table."""
        del context
        return Finished(rows=config.rows, count=len(config.rows))


def _column(values: list[Any]) -> Column:
    numbers = [float(value) for value in values if _is_number(value)]
    missing = sum(value is None for value in values)
    if not numbers:
        return Column(count=0, missing=missing, mean=0, deviation=0)
    return Column(
        count=len(numbers), missing=missing, mean=fmean(numbers), deviation=pstdev(numbers)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_far(value: float, column: Column, deviations: float) -> bool:
    return column.deviation > 0 and abs(value - column.mean) > deviations * column.deviation


def _rule(name: str, column: Column, deviations: float) -> Rule:
    reach = deviations * column.deviation
    return Rule(column=name, least=column.mean - reach, most=column.mean + reach)


def _keeps(row: Row, rule: Rule) -> bool:
    value = row.get(rule.column)
    return value is None or not _is_number(value) or rule.least <= value <= rule.most
