"""The jobs of the roles, a module each; `job` says what a job is and how it plugs in."""
