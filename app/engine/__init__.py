"""The engine: language, planning, execution, delivery, duties."""
