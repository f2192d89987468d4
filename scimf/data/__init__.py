"""From files to cells with times: the registry, readers, your own file, splits, coordinates."""
