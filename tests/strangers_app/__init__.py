"""An application of somebody else's beside SpendHub: a strategy of its own and hooks, registered as the docs say."""
