"""The text that Prometheus reads: the numbers of several processes as one document."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

PROCESS_LABEL = "process"


class _Families:
    """Families in the form in which the library takes them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def text_of(
    own: Mapping[str, Collector], others: Mapping[str, str], platform: Sequence[Metric]
) -> bytes:
    """Return one document: the numbers of processes by name, each labelled with it, and those of the whole platform.

    They are not added up here: a process that starts anew starts at zero, which only `sum(rate(…))` treats rightly.
    """
    sources = [(name, registry.collect()) for name, registry in own.items()]
    sources += [(name, text_string_to_metric_families(text)) for name, text in others.items()]
    return generate_latest(_Families([*platform, *_merged(sources)]))


def _merged(sources: Iterable[tuple[str, Iterable[Metric]]]) -> Iterable[Metric]:
    families: dict[str, Metric] = {}
    for process, metrics in sources:
        for metric in metrics:
            family = families.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            family.samples += [
                sample._replace(labels={PROCESS_LABEL: process, **sample.labels})
                for sample in metric.samples
            ]
    return families.values()
