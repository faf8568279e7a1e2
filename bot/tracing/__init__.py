"""Traces turns with OpenTelemetry, if the standard OTEL_* variables name a collector."""
