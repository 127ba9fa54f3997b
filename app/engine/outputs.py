"""Large outputs on their way: into the artifact store before a checkpoint is written, out of it when a run is resumed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from app.engine.active_run import NotKept
from app.engine.artifacts.store import Artifact, ArtifactStore, ArtifactStoreUnavailable
from app.engine.attempt.context import Command
from app.engine.checkpoint import RUN, Checkpoint
from app.engine.evidence.canonical import canonical
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, Outcome, Succeeded

MAX_INLINE_BYTES: Final = 256 * 1024
Recorded = tuple[StepState, Artifact | None]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Keeps outputs beyond MAX_INLINE_BYTES out of the rows. In memory, a run always has the value itself."""

    store: ArtifactStore
    max_bytes: int

    async def keep(self, outcome: Outcome) -> tuple[Outcome, Artifact | None]:
        """Store the output of an attempt if it is large; an attempt whose output could not be stored has failed."""
        if not isinstance(outcome, Succeeded) or outcome.output_bytes <= MAX_INLINE_BYTES:
            return outcome, None
        try:
            return outcome, await self.store.put_soon(orjson.dumps(outcome.output))
        except ArtifactStoreUnavailable as fault:
            return Failed(fault.code, fault.detail), None

    async def keep_evidence(
        self, outcome: Outcome, commands: Sequence[Command]
    ) -> tuple[Outcome, Sequence[Command]]:
        """Store large evidence; an attempt whose evidence could not be stored has failed."""
        try:
            return outcome, [await self._without_large_content(command) for command in commands]
        except ArtifactStoreUnavailable as fault:
            return Failed(fault.code, fault.detail), ()

    async def _without_large_content(self, command: Command) -> Command:
        if command.kind != "evidence" or command.data["bytes"] <= MAX_INLINE_BYTES:
            return command
        await self.store.put_soon(canonical(command.data["content"]))
        return replace(command, data={**command.data, "content": None})

    def stow(self, checkpoint: Checkpoint, found: Mapping[str, bytes]) -> Checkpoint:
        """Store what `oversized` has found; returns the checkpoint that names it. Blocks.

        Raises:
            NotKept: something is larger than any output may be, or the store does not answer.
        """
        too_large = {path: data for path, data in found.items() if len(data) > self.max_bytes}
        if too_large:
            raise NotKept(self._too_large(max(map(len, too_large.values()))), too_large)
        try:
            stored = {path: self.store.put(data) for path, data in found.items()}
        except ArtifactStoreUnavailable as fault:
            raise NotKept(Failed(fault.code, fault.detail), found) from None
        return replace(checkpoint, artifacts={**checkpoint.artifacts, **stored})

    def load(self, recorded: Sequence[Recorded]) -> list[StepState]:
        """Return recorded states with their outputs. Blocks.

        Raises:
            ArtifactMissing, ArtifactDamaged: an output is gone, or is not what was stored.
            ArtifactStoreUnavailable: the store does not answer.
        """
        contents = self.store.read_all([artifact for _, artifact in recorded if artifact])
        values = {artifact: orjson.loads(data) for artifact, data in contents.items()}
        return [
            state if artifact is None else replace(state, output=values[artifact])
            for state, artifact in recorded
        ]

    def _too_large(self, size: int) -> Failed:
        message = (
            f"The output is {size:,} bytes of JSON; at most {self.max_bytes:,} are kept: "
            "let the steps of the loop, or the last steps, return less."
        )
        return Failed("output_too_large", message)


def large(value: Any) -> bytes | None:
    """Return a value as JSON if it is too large for a row."""
    encoded = orjson.dumps(value)
    return encoded if len(encoded) > MAX_INLINE_BYTES else None


def oversized(checkpoint: Checkpoint, attempted: Collection[str]) -> dict[str, bytes]:
    """Return the large outputs, as JSON by path, that no attempt has brought: those of loops, and the run's own."""
    outputs = {
        state.path: state.output
        for state in checkpoint.states
        if state.output is not None and state.path not in attempted
    }
    if checkpoint.leave is not None:
        outputs[RUN] = checkpoint.leave["output"]
    encoded = {path: large(output) for path, output in outputs.items()}
    return {path: data for path, data in encoded.items() if data is not None}
