"""What learning from interactions gains, one experiment a module: see docs/learning.md."""
