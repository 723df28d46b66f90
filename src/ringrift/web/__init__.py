"""What is served over HTTP: the game server's AI service, and the port of those who run the loop.

Modules are imported by their names, so that serving moves loads nothing of the loop.
"""
