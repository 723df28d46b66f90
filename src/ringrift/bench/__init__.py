"""Throughputs of the parts on this machine: a file a part, each with `rows`, shown by `ringrift bench`."""
