"""AutomateOS: durable workflow automation."""

from app.core.lean_imports import import_lean

import_lean()
