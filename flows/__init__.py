"""Orders, retries and schedules the stages of dvc.yaml; publishes and rolls back."""
