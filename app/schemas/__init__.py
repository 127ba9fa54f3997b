"""Wire forms: what the API takes and gives."""
