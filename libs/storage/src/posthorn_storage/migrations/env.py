"""Run by Alembic for every command. It opens nothing: posthorn_storage.migrations.compare hands it a connection."""

from alembic import context

from posthorn_storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=False,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
