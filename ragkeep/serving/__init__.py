"""What the server stands on: who asks, what they may do and spend; the routes themselves."""
