"""Traces of turns, sent by OpenTelemetry if the standard variables OTEL_* say where."""
