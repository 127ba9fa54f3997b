"""What may keep runs and steps from starting: kill switches, read often, asked before each step, and policies."""
