"""A real OpenSearch cluster on this machine, put together from the artifacts that the project publishes for Maven.

The published distribution is bare: `assemble` adds the modules and plugins it lacks, `security` makes certificates and
the one user, `node` says how one server is set up and started, `cluster` keeps several of them. `python -m
infra.local.opensearch --help` lists the commands.
"""
