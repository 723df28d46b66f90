"""The page in the browser: play, look at stored games, watch a loop. Its own process, and it only reads the store."""
