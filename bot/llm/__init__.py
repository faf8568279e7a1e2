"""Language models: provider clients, stream parsing, fallback and circuit breaking."""
