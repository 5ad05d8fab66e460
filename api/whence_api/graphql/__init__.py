"""The GraphQL surface: what a person, or a page, asks a catalog."""
