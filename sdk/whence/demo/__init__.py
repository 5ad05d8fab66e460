"""`whence demo`: a real pipeline, run before your eyes. `project/` is what it copies; `tour` runs it."""
