"""How one of several capable models is chosen: a module per strategy, all of one shape, in one visible dict."""
