"""Games, databases and weights of the earlier service: a wing that can be torn down without touching another."""
