"""The Alembic environment: env.py runs inside a connection it is handed, versions/ holds the migrations themselves."""
