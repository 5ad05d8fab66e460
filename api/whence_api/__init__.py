"""The server; it arrives with HTTP and GraphQL."""
