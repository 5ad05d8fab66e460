"""The whence command."""
