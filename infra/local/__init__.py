"""Real servers on this machine without Docker, all on 127.0.0.1, all with the same verbs: up, status, env, down.

    python -m infra.local.opensearch up --nodes 3 --secure
    eval "$(python -m infra.local.opensearch env)"
    python -m infra.local.opensearch down --wipe

They need Linux and nothing but Python's standard library; what a server itself needs (a JDK, Maven) is named by the
error when it is missing. Elsewhere use `infra/compose.yaml`.
"""
