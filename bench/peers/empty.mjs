// A program that does nothing: what remains is what Node, and a hook, take to begin and to end.
