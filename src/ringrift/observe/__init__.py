"""What a process says of itself and of what it depends on: logs, circuit breakers, the machine."""
