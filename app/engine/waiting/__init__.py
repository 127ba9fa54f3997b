"""Steps that wait: how a wait begins, and how it ends."""
