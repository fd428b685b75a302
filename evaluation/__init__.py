"""Measures: golden sets, IR metrics, judges, the paired comparison, the gate and the report."""
