"""AutomateOS: durable workflow automation."""
