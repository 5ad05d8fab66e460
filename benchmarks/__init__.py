"""Whence beside the raw floor: what it costs over handwritten SQL on the same schema. `make bench` runs it."""
