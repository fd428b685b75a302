"""Where ragkeep's services come from: real local servers (`infra/local/`) and, with Docker, `infra/compose.yaml`.

Nothing here is in the wheel, and nothing in ragkeep's other rooms imports it: they only get URLs from the environment.
"""
