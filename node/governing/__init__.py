"""The gate: no step of a model takes effect before what was decided about it is a durable record."""
