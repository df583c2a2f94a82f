"""What needs OpenTelemetry's SDK, which the extra `otel` brings."""
