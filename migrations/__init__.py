"""Alembic migrations of the catalog. They ship in the wheel as `whence_migrations`."""
