"""How Alembic reaches the catalog. `whence migrate` passes the URL; so does `alembic -x url=…`."""

from alembic import context
from sqlalchemy import create_engine, pool

from whence_catalog.sql import rows

url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True)["url"]

if context.is_offline_mode():
    context.configure(url=url, target_metadata=rows.Row.metadata, literal_binds=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=rows.Row.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
