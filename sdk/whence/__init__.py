"""whence: where a model came from, and how to make it again."""
