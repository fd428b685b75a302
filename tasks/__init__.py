"""The batch stages, one a file: `python -m tasks.<stage>`; dvc.yaml says in which order."""
