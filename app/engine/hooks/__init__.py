"""What the engine calls when a run has ended: workflows, and URLs."""
