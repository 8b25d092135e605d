"""Named rules, graph → graph."""
