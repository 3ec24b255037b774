"""What every package uses and no user needs."""
